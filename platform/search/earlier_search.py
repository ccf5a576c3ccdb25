"""The search of an earlier launch, from its records: how each configuration came out, and what differs from here.

Outcomes are those that its own search was told: means over the seeds of that search. Seeds are replicates of a
configuration, so a mean over other seeds estimates the same number; what enters names its seeds.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nmlab.platform.records.events import JournalRecord, TrialEnded, TrialSubmitted
from nmlab.platform.records.payloads import KnownOutcomeRecord, ResultRecord
from nmlab.platform.search.outcomes import outcome_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.search_spaces.schema.constraints import Constraint
from nmlab.trials.contract.metrics import text_of
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.sections import Section
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods import registry

_PLACE = {"source", "split", "column"}
"""Of a text: where it is read from; the digest of the texts says what was read."""
_FREE = {"samples", "micro_batch"}
"""Of the calibration text: what belongs to a configuration, and what changes rounding only."""


@dataclass(frozen=True)
class EarlierSearch:
    """What an earlier launch searched, and how.

    Attributes:
        study: its name.
        launch: its name.
        metrics: the objectives.
        modes: ``min`` or ``max``, for each.
        seeds: of the search: those with which the launch began.
        not_searched: keys of trials with these seeds that do not belong to the search, such as baselines.
        records: of its journal, without the points of trials.
        curves: the (first) objective by step that trials had before their end, by trial key.
        model_digest: of its weights; "" if it recorded none.
        data_digest: of its texts; "" if it recorded none.
    """

    study: str
    launch: str
    metrics: Sequence[str]
    modes: Sequence[str]
    seeds: Sequence[int]
    not_searched: Collection[str]
    records: Sequence[JournalRecord]
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    model_digest: str = ""
    data_digest: str = ""


@dataclass(frozen=True)
class EarlierConfiguration:
    """A configuration of an earlier search: its trial that began first, and its outcome; None if it has not ended."""

    spec: TrialSpec
    outcome: Outcome | None

    @property
    def settings(self) -> dict[str, Any] | None:
        """Every value, as `full_values` gives them; None if its method is not known here, or refuses a value."""
        try:
            config = registry.get(self.spec.method).configure(self.spec.hyperparameters)
        except ValueError:
            return None
        named = {"method": self.spec.method, "pattern": self.spec.pattern, SAMPLES: self.spec.calibration.samples}
        return {**config.model_dump(mode="json"), **named}

    @property
    def values(self) -> Sequence[float] | None:
        """The objectives, if all are finite and every constraint could be checked."""
        if self.outcome is None or self.outcome.pruned or self.outcome.values is None:
            return None
        numbers = (*self.outcome.values, *self.outcome.constraints.values())
        return self.outcome.values if all(map(math.isfinite, numbers)) else None


def earlier_configurations(search: EarlierSearch, *, constraints: Sequence[Constraint]) -> list[EarlierConfiguration]:
    """Return the configurations of an earlier search in the order in which they began.

    Args:
        search: the earlier one.
        constraints: of the search that is to learn of them.
    """
    first: dict[str, TrialSpec] = {}
    ends: dict[str, ResultRecord] = {}
    for record in search.records:
        if isinstance(record, TrialSubmitted) and record.key not in search.not_searched:
            spec = TrialSpec.from_record(record.spec)
            if spec.seed in search.seeds:
                first.setdefault(spec.configuration, spec)
        elif isinstance(record, TrialEnded):
            ends[record.key] = record.result
    return [EarlierConfiguration(spec, _outcome(search, spec, ends, constraints)) for spec in first.values()]


def known_outcome_of(configuration: EarlierConfiguration, *, search: EarlierSearch) -> KnownOutcomeRecord | None:
    """Return a configuration as it enters another search; None if it has not ended, or is not known here."""
    if configuration.outcome is None or (settings := configuration.settings) is None:
        return None
    found: KnownOutcomeRecord = {
        "launch": search.launch,
        "configuration": configuration.spec.configuration,
        "seeds": list(search.seeds),
        "settings": settings,
        "pruned": configuration.outcome.pruned,
        "intermediate": {str(step): each for step, each in _finite(configuration.outcome.intermediate).items()},
    }
    if (values := configuration.values) is not None:
        found |= {"values": list(values), "constraints": dict(configuration.outcome.constraints)}
    return found


def best_of(configurations: Iterable[EarlierConfiguration], *, mode: str, top: int) -> list[EarlierConfiguration]:
    """Return the best configurations by the (first) objective, without those that break a constraint."""
    kept = [
        (values[0] if mode == "min" else -values[0], each)
        for each in configurations
        if (values := each.values) is not None
        and all(excess <= 0 for excess in (each.outcome.constraints if each.outcome else {}).values())
    ]
    return [each for _, each in sorted(kept, key=lambda item: item[0])[:top]]


def differences(
    search: EarlierSearch,
    *,
    spec: TrialSpec,
    metrics: Sequence[str],
    modes: Sequence[str],
    model_digest: str,
    data_digest: str,
    constrained: Sequence[str] = (),
) -> list[str]:
    """Return why outcomes of an earlier search may not enter a search here, each in a few words.

    Args:
        search: the earlier one.
        spec: any trial of the search here.
        metrics: its objectives.
        modes: of each.
        model_digest: of its weights.
        data_digest: of its texts.
        constrained: the metrics that its constraints limit.
    """
    submitted = (record for record in search.records if isinstance(record, TrialSubmitted))
    earlier = next(
        (TrialSpec.from_record(record.spec) for record in submitted if record.key not in search.not_searched), None
    )
    if earlier is None:
        return ["it has no trial of a search"]
    found = []
    if search.model_digest != model_digest:
        found.append(f"its model is another ({search.model_digest or 'unknown'} weights, here {model_digest})")
    elif earlier.model.leave_dense != spec.model.leave_dense:
        found.append(f"its masks leave other weights dense ({_listed(earlier.model.leave_dense)})")
    if name := _other_text(earlier, spec, is_same=search.data_digest == data_digest, is_known=bool(search.data_digest)):
        found.append(f"its {name} is another")
    if earlier.neutral != spec.neutral and any(map(text_of, (*metrics, *constrained))):
        found.append("its data.neutral is another")
    if (tuple(search.metrics), tuple(search.modes)) != (tuple(metrics), tuple(modes)):
        found.append(f"its objective is {', '.join(search.metrics)} ({', '.join(search.modes)})")
    if earlier.budget != spec.budget:
        found.append("its trials had other limits (budget)")
    return found


def _outcome(
    search: EarlierSearch, spec: TrialSpec, ends: Mapping[str, ResultRecord], constraints: Sequence[Constraint]
) -> Outcome | None:
    keys = {seed: spec.model_copy(update={"seed": seed}).key for seed in search.seeds}
    if any(key not in ends or ends[key].get("resumable", False) for key in keys.values()):
        return None
    results = {seed: {**ends[key]["metrics"], **ends[key]} for seed, key in keys.items()}
    curves = []
    for seed, key in keys.items():
        last = results[seed].get(search.metrics[0])
        curve = {**search.curves.get(key, {}), **({} if last is None else {int(ends[key]["step"]): float(str(last))})}
        curves += [curve] if curve else []
    return outcome_of(
        results, curves=curves, configuration=spec.configuration, metrics=search.metrics, constraints=constraints
    )


def _other_text(earlier: TrialSpec, spec: TrialSpec, *, is_same: bool, is_known: bool) -> str:
    """Return the section of data that differs; "" if none does. Where a text lies matters if no digest is known."""
    apart = _PLACE if is_known else set()
    free = {"calibration": apart | _FREE, "evaluation": apart | {"batch_size"}, "validation": apart | {"batch_size"}}
    if _weights(earlier) != _weights(spec):
        return "data.calibration"
    for name, left_out in free.items():
        if _settings(getattr(earlier, name), left_out) != _settings(getattr(spec, name), left_out):
            return f"data.{name}"
    return "" if is_same or not is_known else "text"


def _weights(spec: TrialSpec) -> list[float]:
    return [part.weight for part in spec.calibration.parts]


def _settings(section: Section | None, left_out: set[str]) -> dict[str, Any] | None:
    return None if section is None else section.model_dump(mode="json", exclude=left_out)


def _finite(values: Mapping[int, float]) -> dict[int, float]:
    return {step: value for step, value in sorted(values.items()) if math.isfinite(value)}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
