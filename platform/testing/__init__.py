"""The conformance tests of search strategies, for those who add one."""

from nmlab.platform.testing.searcher_conformance import SearcherConformance, study_of

__all__ = ["SearcherConformance", "study_of"]
