"""What a new launch starts from: outcomes of earlier launches of the same question, best points of others.

What was measured with the same weights, texts and objective enters the search with its outcome. What was measured with
others says where to look first, and no more: its best configurations become initial points, for another model by the
rule of `nmlab scale` where that applies.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import WarmStarted
from nmlab.platform.records.payloads import KnownOutcomeRecord, WarmSourceRecord
from nmlab.platform.search.earlier_search import (
    EarlierConfiguration,
    EarlierSearch,
    best_of,
    differences,
    earlier_configurations,
    known_outcome_of,
)
from nmlab.platform.search.placement import placed
from nmlab.platform.search.warm_start import point_in
from nmlab.platform.tracking.earlier_launch import read_earlier_search
from nmlab.reports.read.errors import ReportError
from nmlab.search_spaces.schema.algorithms import ALGORITHMS
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.contract.values import Scalar

if TYPE_CHECKING:
    from nmlab.reports.scaling.proposal import SpaceProposal

_TOP = 3
"""How many of the best configurations of another question are tried first."""
_SCALED = ("logit_magnitude", "learning_rate")
"""What the rule of `nmlab scale` proposes, of this method:"""
_SCALED_METHOD = "maskpro"
_STATES = ("complete", "stopped early", "failed")
Point = Mapping[str, Scalar]


def plan_warm_start(
    plan: LaunchPlan,
    names: Sequence[str],
    *,
    results: Path,
    tracking_uri: str,
    digest_of: Callable[[ModelSource], str] | None = None,
) -> WarmStarted:
    """Return what a launch starts from, given the launches that its user named.

    Args:
        plan: of the new launch.
        names: launches, their folders, or studies (their newest launches).
        results: the folder for launches.
        tracking_uri: the MLflow store, for launches whose folders are gone.
        digest_of: returns the digest of a model's weights; by default it reads them.

    Raises:
        ValueError: an algorithm that does not learn from outcomes, no such launch, or nothing of them is of use.
    """
    _check_algorithm(plan.study)
    found = {
        search.launch: search
        for search in (read_earlier_search(name, results=results, tracking_uri=tracking_uri) for name in names)
    }
    weights = (digest_of or model_digest)(plan.study.model)
    start = _Start(plan)
    for search in found.values():
        unlike = differences(
            search,
            spec=plan.examples[0],
            metrics=plan.study.search.metrics,
            modes=plan.study.search.modes,
            model_digest=weights,
            data_digest=plan.facts.data_digest,
            constrained=[constraint.metric for constraint in plan.study.search.all_constraints],
        )
        if unlike:
            start.look_first(search, why=" and ".join(unlike), tracking_uri=tracking_uri)
        else:
            start.tell_outcomes(search)
    return start.record()


def model_digest(source: ModelSource) -> str:
    """Return the digest of a model's weights, as replicas record it; every weight is read once."""
    from nmlab.trials.models.frozen import FrozenModel

    return FrozenModel.load(source).digest


@dataclass
class _Start:
    """What a launch starts from, as it is put together."""

    plan: LaunchPlan
    known_outcomes: dict[str, KnownOutcomeRecord] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    sources: list[WarmSourceRecord] = field(default_factory=list)

    def tell_outcomes(self, search: EarlierSearch) -> None:
        """Let the search be told the outcomes of a launch."""
        configurations = earlier_configurations(search, constraints=self.plan.study.search.all_constraints)
        states: Counter[str] = Counter()
        for each in configurations:
            record = known_outcome_of(each, search=search)
            state = "not ended" if each.outcome is None else "outside"
            if record is not None and placed(self.plan.study, record["settings"]) is not None:
                state = "repeated" if self._is_repeated(record) else _state(record)
            if record is not None and state in _STATES:
                self.known_outcomes[_settings(record)] = record
            states[state] += 1
        self._say(search, _outcomes_line(search, states, seeds=self.plan.search_seeds))

    def look_first(self, search: EarlierSearch, *, why: str, tracking_uri: str) -> None:
        """Let the best configurations of a launch be initial points."""
        configurations = earlier_configurations(search, constraints=self.plan.study.search.all_constraints)
        best = best_of(configurations, mode=search.modes[0], top=len(configurations))
        scaled = _scaled(self.plan, search, best, tracking_uri=tracking_uri)
        given = scaled or [settings for each in best if (settings := each.settings) is not None]
        inside = [point for settings in given if (point := point_in(self.plan.study, settings)) is not None]
        new = [point for place, point in enumerate(inside) if point not in (*inside[:place], *self.points)][:_TOP]
        self.points += new
        rule = f"by the rule of nmlab scale from its {len(configurations)} configurations" if scaled else "its best"
        what = f"{_counted(len(new), 'initial point')} ({rule})" if new else _why_none(len(given), rule)
        self._say(search, f"none of its outcomes enters, because {why}; {what}")

    def record(self) -> WarmStarted:
        """Return it as the journal keeps it; raises ``ValueError`` if there is nothing."""
        if not self.known_outcomes and not self.points:
            lines = "; ".join(source["line"] for source in self.sources)
            raise ValueError(f"--warm-start: nothing of it is of use here: {lines}; leave it out, or widen the space")
        return WarmStarted(sources=self.sources, entered=list(self.known_outcomes.values()), points=self.points)

    def _is_repeated(self, record: KnownOutcomeRecord) -> bool:
        """Return whether the search knows the configuration from another launch, and this one says no more of it."""
        known = self.known_outcomes.get(_settings(record))
        return known is not None and ("values" in known or "values" not in record)

    def _say(self, search: EarlierSearch, line: str) -> None:
        self.sources.append({"study": search.study, "launch": search.launch, "line": f"{search.launch}: {line}"})


def _check_algorithm(study: Study) -> None:
    name = study.search.algorithm
    if why := ALGORITHMS[name].no_warm_start:
        able = " or ".join(known for known, found in ALGORITHMS.items() if not found.no_warm_start)
        raise ValueError(f"--warm-start: search.algorithm {name}: {why}; expected {able}")


def _scaled(
    plan: LaunchPlan, search: EarlierSearch, best: Sequence[EarlierConfiguration], *, tracking_uri: str
) -> list[Point]:
    """Return points for this model by the rule of `nmlab scale`; none where the rule does not apply."""
    from nmlab.reports.scaling import scale

    own = [settings for each in best if (settings := each.settings) and settings["method"] == _SCALED_METHOD]
    study = plan.study
    if not own or _SCALED_METHOD not in study.methods or not all(name in study.entries for name in _SCALED):
        return []
    pattern = study.patterns[0]
    groups = plan.facts.prunable // int(pattern.partition(":")[2])
    try:
        found = scale([f"{search.study}@{search.launch}"], tracking_uri=tracking_uri, groups=groups, pattern=pattern)
    except (ReportError, ValueError):  # too few values were tried, or MLflow does not have the launch
        return []
    return [
        _with_own_steps(plan, {**own[0], "pattern": pattern, **point}, found.proposal)
        for point in found.proposal.points
    ]


def _with_own_steps(plan: LaunchPlan, point: Point, proposal: SpaceProposal) -> Point:
    """Return a proposed point at the steps of a study; logits are to move as far, so the learning rate changes too."""
    proposed = int(float(f"{max(1.0, proposal.steps.middle):.2g}"))
    own = {spec.hyperparameters.get("steps") for spec in plan.examples if spec.method == _SCALED_METHOD}
    steps = proposed if "steps" in plan.study.entries else int(str(own.pop()))
    return {
        **point,
        "steps": steps,
        "learning_rate": float(f"{float(str(point['learning_rate'])) * proposed / steps:.3g}"),
    }


def _outcomes_line(search: EarlierSearch, states: Counter[str], *, seeds: Sequence[int]) -> str:
    """Return how many configurations enter, how they ended, over which seeds, and how many are left out."""
    inside = {state: states[state] for state in _STATES if states[state]}
    counts = ", ".join(f"{count} {state}" for state, count in inside.items())
    own = f"told by the means over its seeds {_numbers(search.seeds)}"
    if tuple(search.seeds) != tuple(seeds):
        own += f" (here {_numbers(seeds)}; seeds are replicates, so both estimate the same)"
    left = {
        "outside": "outside of the space",
        "not ended": "not ended",
        "repeated": "entered from another launch",
    }
    out = [f"{states[state]} {text}" for state, text in left.items() if states[state]]
    kept = (
        f"{_counted(sum(inside.values()), 'configuration')} with outcomes ({counts}), {own}"
        if inside
        else "nothing enters"
    )
    return "; ".join([kept, *([f"left out: {', '.join(out)}"] if out else [])])


def _settings(record: KnownOutcomeRecord) -> str:
    return json.dumps(record["settings"], sort_keys=True)


def _state(record: KnownOutcomeRecord) -> str:
    if record.get("pruned"):
        return "stopped early"
    values = record.get("values")
    return "complete" if values is not None and all(map(math.isfinite, values)) else "failed"


def _why_none(given: int, rule: str) -> str:
    return (
        f"no initial point: none of {given} ({rule}) lies in the space" if given else "no initial point: none finished"
    )


def _numbers(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
