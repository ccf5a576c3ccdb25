"""Tests that whoever adds a way of choosing configurations can run on it."""

from nmlab.platform.testing.searcher_conformance import SearcherConformance, study_of

__all__ = ["SearcherConformance", "study_of"]
