"""Estimate what a study takes: its trials, memory by purpose, time, disk, and whether it fits this machine."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from nmlab.platform.planning.admission import Load, check_study_fits
from nmlab.platform.planning.blame import telling_place
from nmlab.platform.planning.forecast import Forecast, Forecaster, SharedResults, held_out, shared_results
from nmlab.platform.planning.listing import Listing, list_trials
from nmlab.platform.planning.machine import Machine
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import WarmStarted
from nmlab.platform.search.warm_start import warm_start_of
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.masks.bits import packed_size
from nmlab.trials.methods import registry
from nmlab.trials.sizing.dry_run import FakeTensorModel
from nmlab.trials.sizing.probe import ProbeResult

_CHECKPOINTS = 2
"""Checkpoints of a trial that are kept at once: the newest, and the one before it."""
_ROWS_BYTES = 200 * 12 * 120 + 30_000
"""Bytes of a trial in the database of the tracking store: about 200 points of a dozen metrics, parameters and tags."""
_RECORDS_BYTES = 50_000
"""Bytes of a trial's other files: its record, curve and provenance."""

Probes = Mapping[tuple[str, str], ProbeResult]


@dataclass
class Estimate:
    """The estimate of a plan on a machine.

    Attributes:
        plan: the plan.
        machine: the machine.
        probes: what probes measured, by method and pattern.
        warm: what the search starts from; None if it starts from nothing.
    """

    plan: LaunchPlan
    machine: Machine
    probes: Probes = field(default_factory=dict)
    fake_model: FakeTensorModel | None = None
    warm: WarmStarted | None = None

    @classmethod
    def here(cls, plan: LaunchPlan, *, probes: Probes | None = None, warm: WarmStarted | None = None) -> "Estimate":
        """Return the estimate for this machine."""
        machine = Machine.here(dtype=plan.study.model.dtype, threads=threads_a_slot(plan))
        return cls(plan, machine, probes or {}, warm=warm)

    def check(self) -> None:
        """Raise ``ValueError`` if the study does not fit on this machine."""
        with telling_place(self.plan.study):
            check_study_fits(self.plan.study, self.load, machine=self.machine)

    @cached_property
    def listing(self) -> Listing:
        return list_trials(self.plan, warm=warm_start_of([] if self.warm is None else [self.warm]))

    @cached_property
    def load(self) -> Load:
        """The memory of one replica; a slot is as large as the largest trial."""
        facts = self.plan.facts
        element = facts.model_bytes // facts.parameters
        on_gpu = self.machine.device == "cuda"
        slot = max((forecast.slot_bytes for _, forecast in self.forecasts), default=0)
        return Load(
            weights=facts.model_bytes,
            block_weights=facts.coverage.total * element,
            blocks=facts.blocks,
            shared=0 if on_gpu else self.shared.most,
            slot=slot,
            shared_on_host=self.shared.most if on_gpu else 0,
        )

    @cached_property
    def shared(self) -> SharedResults:
        """The results that a worker keeps for all of its trials, in host memory."""
        study = self.plan.study
        specs = [*self.plan.baselines, *self.plan.examples]
        return shared_results(
            [(spec, self._forecast(spec).shared) for spec in specs],
            held_out_tokens=sum(count * (text.sequence_length + 1) for text, count in held_out(study, self.plan.facts)),
            seeds=len(self.plan.seeds),
            slots=study.replica.slots,
        )

    @cached_property
    def forecasts(self) -> list[tuple[TrialSpec, Forecast]]:
        """One trial of every method, pattern and size in bytes, with its forecast."""
        found: dict[tuple[str, str, int], tuple[TrialSpec, Forecast]] = {}
        for spec in [*self.plan.baselines, *self.plan.examples]:
            forecast = self._forecast(spec)
            found.setdefault((spec.method, spec.pattern, forecast.slot_bytes), (spec, forecast))
        return list(found.values())

    @cached_property
    def seconds(self) -> float:
        """Seconds of the whole launch: all trials, as many at once as there are slots."""
        listing, confirmation = self.listing, self.plan.confirmation
        own = [self._seconds(spec) for spec in listing.specs]
        searched = own[listing.baselines :]
        more = listing.open * len(self.plan.study.seeds)
        if confirmation is not None:
            more += confirmation.configurations * len(confirmation.seeds)
            own += [self._seconds(spec) for spec in confirmation.baselines] * len(confirmation.seeds)
        total = sum(own) + more * (sum(searched) / len(searched) if searched else 0.0)
        return total / min(self.plan.study.concurrency, max(1, self.plan.trials))

    @cached_property
    def disk(self) -> dict[str, int]:
        """Bytes on disk when all trials have ended, by purpose; those of checkpoints are an upper bound."""
        listing, facts = self.listing, self.plan.facts
        scale = self.plan.trials / max(1, len(listing.specs))
        total: Counter[str] = Counter()
        for spec in listing.specs:
            forecast = self._forecast(spec)
            kept = packed_size(facts.prunable) if registry.get(spec.method).sparse else 0
            windows = sum(count for _, count in held_out(self.plan.study, facts))
            kept += forecast.state_parts.get("updated weights", 0) + 24 * windows + _RECORDS_BYTES
            total["artifacts"] += kept
            total["tracking store"] += kept + _ROWS_BYTES
            total["checkpoints"] += _CHECKPOINTS * forecast.state_bytes if _steps(spec) else 0
        return {name: round(scale * count) for name, count in total.items()}

    @cached_property
    def _forecaster(self) -> Forecaster:
        return Forecaster(self.plan.study, self.plan.facts, machine=self.machine, fake_model=self.fake_model)

    @property
    def could_not_tell(self) -> list[str]:
        """One line for each reason why a dry run failed, with what it could not count."""
        by_reason: dict[str, list[str]] = {}
        for what, why in self._forecaster.unknown.items():
            by_reason.setdefault(why, []).append(what)
        return [
            f"the activations and the time of {' and '.join(named)}, counted as none: the dry run failed ({why}); "
            "--probe measures them"
            for why, named in by_reason.items()
        ]

    @property
    def is_measured(self) -> bool:
        """Whether probes measured all that it is made from."""
        return all(forecast.measured for _, forecast in self.forecasts)

    def _forecast(self, spec: TrialSpec) -> Forecast:
        return self._forecaster.of(spec, probed=self.probes.get((spec.method, spec.pattern)))

    def _seconds(self, spec: TrialSpec) -> float:
        steps = _steps(spec)
        return self._forecast(spec).seconds(steps=steps, evaluations=self._evaluations(steps))

    def _evaluations(self, steps: int) -> float:
        """Return how often a trial reads the evaluation text, with other texts as the share of it that each is.

        What learns is also measured at its start, on the text that configurations are chosen on and on neutral texts;
        trials that start from one mask share this, so a study with many of them takes less than is said here.
        """
        data, every = self.plan.study.data, self.plan.study.intervals.evaluate_every
        during = (steps - 1) // every if every and steps else 0
        starts = 1 if steps else 0
        tokens = {text: count * text.sequence_length for text, count in held_out(self.plan.study, self.plan.facts)}
        evaluation = tokens[data.evaluation]
        neutral = sum(tokens[text] for text in data.neutral_texts) / evaluation * (1 + starts)
        if data.validation is None:
            return 1 + starts + during + neutral
        return 1 + tokens[data.validation] / evaluation * (1 + starts + during) + neutral


def threads_a_slot(plan: LaunchPlan) -> int:
    """Return the number of threads that one trial gets on this machine."""
    import os

    replica = plan.study.replica
    return max(1, (os.cpu_count() or 1) // (replica.count * replica.slots))


def probe_methods(plan: LaunchPlan) -> dict[tuple[str, str], ProbeResult]:
    """Load the model and measure a few real steps of every method and pattern of a study, one after the other."""
    import torch

    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.models import FrozenModel
    from nmlab.trials.models.frozen import best_device
    from nmlab.trials.sizing.probe import probe

    before = torch.get_num_threads()
    torch.set_num_threads(threads_a_slot(plan))
    try:
        source = plan.study.model
        replica = ReplicaContext(FrozenModel.load(source, device=best_device()))
        specs = _one_of_each([*plan.baselines, *plan.examples])
        return {kind: probe(spec, replica=replica) for kind, spec in specs.items()}
    finally:
        torch.set_num_threads(before)


def _one_of_each(specs: Iterable[TrialSpec]) -> dict[tuple[str, str], TrialSpec]:
    kinds: dict[tuple[str, str], TrialSpec] = {}
    for spec in specs:
        kinds.setdefault((spec.method, spec.pattern), spec)
    return kinds


def _steps(spec: TrialSpec) -> int:
    return int(spec.hyperparameters.get("steps") or 0)
