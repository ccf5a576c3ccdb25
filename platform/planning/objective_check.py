"""Check a search's objectives against methods that declare their metrics only in their class."""

from nmlab.search_spaces.schema.modes import mode_problems
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.declarations import common_metric, recorded_by
from nmlab.trials.contract.near_names import hint
from nmlab.trials.methods import registry


def check_objectives(study: Study) -> None:
    """Check that such methods record the objectives, and that the search goes in their better direction.

    The schema checks all other methods. A method that declares nothing may record anything. Raises ``ValueError``.
    """
    for method in study.methods:
        declared = {metric.name: metric for metric in registry.metrics_of(method)}
        if recorded_by(method) is not None or not declared:
            continue
        for name, mode in zip(study.search.metrics, study.search.modes, strict=True):
            if common_metric(name) is None and name not in declared:
                raise ValueError(f"search.metric {name!r}: {method} records no such metric{hint(name, declared)}")
            for problem in mode_problems(declared[name], mode=mode) if name in declared else ():
                raise ValueError(problem)
