"""The configurations of a study: every point of a grid, one point proposed by an Optuna trial, and the baselines.

A configuration is a flat dict of JSON scalars: `method`, `pattern`, the number of calibration samples if it is
searched, the fixed hyperparameters, then the searched ones in file order. A conditional name is in it only if its
condition holds. Seeds are not part of a configuration: they are its replicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nmlab.search_spaces.schema.conditions import BESIDE_SPACE, is_active, settling_order
from nmlab.search_spaces.schema.entries import Entry, ListedEntry, TrialLike
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.values import Scalar

Configuration: TypeAlias = dict[str, Scalar]
"""The value of every name of a configuration."""


def grid_points(study: Study) -> list[Configuration]:
    """Return every configuration of the grid: a Cartesian product in file order, the last name fastest.

    Method comes first, then pattern, then the number of samples, then the space. A name whose condition does not hold
    is left out, and the point appears once.

    Raises ValueError if an entry of the space does not list its values.
    """
    for name, entry in study.entries.items():
        if not isinstance(entry, ListedEntry):
            raise ValueError(f"space.{name} is {entry.kind}; a grid needs listed values (grid or choice)")
    points = _points(study.entries, order=settling_order(study.entries), settled=_constants(study))
    return [_configuration(study, searched=point) for point in points]


def configuration_count(study: Study) -> int:
    """Return the number of configurations that a launch of the study tries, without seeds and baselines."""
    return len(grid_points(study)) if study.search.samples is None else study.search.samples


def baseline_points(study: Study) -> list[Configuration]:
    """Return the configuration of every baseline, at every pattern of the study unless it names its own.

    If the number of calibration samples is searched, a baseline runs with each number too, unless it names its own. It
    takes its own hyperparameters only, not the fixed ones of the study.
    """
    given = [{"method": item} if isinstance(item, str) else dict(item) for item in study.baselines]
    searched = isinstance(study.data.calibration.samples, ListedEntry)
    sizes = [{SAMPLES: size} for size in study.data.calibration.sizes] if searched else [{}]
    points: list[Configuration] = []
    for baseline in given:
        for pattern in study.patterns if "pattern" not in baseline else (baseline["pattern"],):
            for size in sizes if SAMPLES not in baseline else ({},):
                points.append({"method": baseline["method"], "pattern": pattern, **size, **baseline})
    return points


@dataclass(frozen=True)
class DefineByRun:
    """The search space of a study as Optuna's define-by-run function.

    An object of a module-level class, because Ray saves a searcher with plain pickle, which refuses
    closures and lambdas.
    """

    study: Study

    def __call__(self, trial: TrialLike) -> Configuration:
        """Return the configuration that `trial` proposes, fixed values included."""
        entries, settled = self.study.entries, _constants(self.study)
        for name in settling_order(entries):
            if is_active(entries[name], settled=settled):
                settled[name] = entries[name].suggest(trial, name=name)
        return _configuration(self.study, searched=settled)


def _constants(study: Study) -> Configuration:
    """Return method and pattern if they are not searched, so that conditions can name them."""
    top = {"method": study.method, "pattern": study.pattern}
    return {name: value for name, value in top.items() if isinstance(value, str)}


def _points(entries: Mapping[str, Entry], *, order: Sequence[str], settled: Configuration) -> Iterator[Configuration]:
    if not order:
        yield settled
        return
    name, rest = order[0], order[1:]
    entry = entries[name]
    if not is_active(entry, settled=settled):
        yield from _points(entries, order=rest, settled=settled)
        return
    assert isinstance(entry, ListedEntry), "grid_points refuses all other entries"
    for value in entry.values:
        yield from _points(entries, order=rest, settled={**settled, name: value})


def _configuration(study: Study, *, searched: Mapping[str, Scalar]) -> Configuration:
    top = {name: searched[name] for name in BESIDE_SPACE if name in searched}
    return {**top, **study.fixed, **{name: searched[name] for name in study.space if name in searched}}
