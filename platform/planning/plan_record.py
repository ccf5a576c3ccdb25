"""A plan as plain JSON: what `nmlab plan --json` prints, and what its text is made from."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, cast

from nmlab.platform.planning.admission import needed_bytes, replica_fit, usable_bytes
from nmlab.platform.planning.estimate import Estimate
from nmlab.platform.planning.forecast import Forecast
from nmlab.platform.planning.listing import varied
from nmlab.platform.planning.planned_stopping import early_stopping
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.search_spaces.schema.sections import Calibration
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.context.result_cache import CACHE_BYTES
from nmlab.trials.contract.sections import HeldOutText, NeutralSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.contract.values import Scalar


class ListedTrial(TypedDict):
    """A trial that is known before the search begins; ``settings`` are those that the study searches."""

    method: str
    pattern: str
    seed: int
    settings: dict[str, Scalar]


class MethodRecord(TypedDict):
    """The bytes of one trial of a method by purpose, and its seconds (see ``Forecast``)."""

    method: str
    pattern: str
    state: dict[str, int]
    state_bytes: int
    uncertain: int
    masked_weights: int
    activations: int
    slot: int
    step_seconds: float
    start_seconds: float
    evaluation_seconds: float
    measured: bool
    known: bool


MemoryRecord = TypedDict(
    "MemoryRecord",
    {
        "weights": int,
        "slot": int,
        "shared": int,
        "shared budget": int,
        "worker": int,
        "needed": int,
        "free": int,
        "device": str,
        "methods": list[MethodRecord],
    },
)
"""The memory of one replica in bytes, and what is free for it."""


class ProposalRecord(TypedDict):
    """The slots and pipeline stages (``shards``) with which one replica would fit."""

    slots: int | None
    shards: int | None
    reason: str


PlanRecord = TypedDict(
    "PlanRecord",
    {
        "study": str,
        "search": str,
        "configurations": int,
        "early stopping": NotRequired[str],
        "search stops": NotRequired[str],
        "seeds": list[int],
        "baseline trials": int,
        "confirmation": NotRequired[str],
        "confirmation trials": NotRequired[int],
        "trials": int,
        "concurrent": int,
        "replicas": str,
        "model": str,
        "prunable": str,
        "coverage": str,
        "weights": NotRequired[str],
        "bytes a replica": int,
        "calibration": NotRequired[str],
        "validation": NotRequired[str],
        "evaluation": str,
        "neutral": NotRequired[str],
        "data digest": str,
        "text notes": list[str],
        "warm start": NotRequired[list[str]],
        "trial list": list[ListedTrial],
        "settled trials": int,
        "open configurations": int,
        "memory": MemoryRecord,
        "could not tell": list[str],
        "seconds": float,
        "seconds are": str,
        "disk": dict[str, int],
        "clean frees": int,
        "proposal": ProposalRecord,
    },
)
"""Everything that is known of a launch before it begins. The names are printed, in this order, and are kept."""


def plan_record(estimate: Estimate, *, trials: int | None = None) -> PlanRecord:
    """Return an estimate as plain JSON, with the first ``trials`` of the list, or all of them."""
    plan, listing = estimate.plan, estimate.listing
    suggested = replica_fit(plan.study, estimate.load, machine=estimate.machine)
    record = {
        **_facts(plan),
        **({} if estimate.warm is None else {"warm start": [source["line"] for source in estimate.warm.sources]}),
        "trial list": [_listed(plan, spec) for spec in listing.specs[:trials]],
        "settled trials": len(listing.specs),
        "open configurations": listing.open,
        "memory": _memory(estimate),
        "could not tell": estimate.could_not_tell,
        "seconds": round(estimate.seconds, 1),
        "seconds are": "measured" if estimate.is_measured else "estimated",
        "disk": estimate.disk,
        "clean frees": estimate.disk.get("checkpoints", 0),
        "proposal": {"slots": suggested.slots, "shards": suggested.stages, "reason": suggested.reason},
    }
    return cast(PlanRecord, record)


def _facts(plan: LaunchPlan) -> dict[str, object]:
    study, data, facts = plan.study, plan.study.data, plan.facts
    return {
        "study": study.name,
        "search": f"{study.search.algorithm} for {', '.join(study.search.metrics)}",
        "configurations": plan.configurations,
        **({"early stopping": early_stopping(plan).describe()} if study.search.scheduler else {}),
        **({"search stops": "; ".join(limits)} if (limits := plan.search_limits().describe()) else {}),
        "seeds": list(study.seeds),
        "baseline trials": len(plan.baselines),
        **_confirmation(plan),
        "trials": plan.trials,
        "concurrent": study.concurrency,
        "replicas": _replicas(study),
        "model": f"{study.model.source} ({facts.architecture}), {facts.parameters:,} parameters",
        "prunable": f"{facts.prunable:,} weights in {facts.layers} layers",
        "coverage": facts.coverage.sentence(),
        **({"weights": facts.stored} if facts.stored else {}),
        "bytes a replica": facts.model_bytes,
        **({"calibration": _mixture(data.calibration)} if data.calibration.is_mixture else {}),
        **({"validation": _windows(facts.validation_windows, data.validation)} if data.validation else {}),
        "evaluation": _windows(facts.evaluation_windows, data.evaluation),
        **({"neutral": _neutral(data.neutral_texts, facts.neutral_windows)} if data.neutral else {}),
        "data digest": facts.data_digest,
        "text notes": list(facts.text_notes),
    }


def _confirmation(plan: LaunchPlan) -> dict[str, object]:
    found = plan.confirmation
    return {} if found is None else {"confirmation": found.describe(), "confirmation trials": found.trials}


def _windows(count: int, text: HeldOutText) -> str:
    return f"{count} windows of {text.sequence_length} tokens"


def _mixture(calibration: Calibration) -> str:
    """Return the windows of each text of a mixture: ``wiki.txt 43 + news.txt 85 windows of 128 tokens``."""
    sources = [part.source for part in calibration.parts]
    found = []
    for size in calibration.sizes:
        counts = calibration.with_samples(size).window_counts
        texts = " + ".join(f"{source} {count}" for source, count in zip(sources, counts, strict=True))
        found.append(f"{texts} windows of {calibration.sequence_length} tokens")
    return "; ".join(found)


def _neutral(texts: Sequence[NeutralSpec], windows: Mapping[str, int]) -> str:
    """Return the neutral texts with their names: ``news 40 windows of 128 tokens, law ...``."""
    return ", ".join(f"{text.name} {_windows(windows[text.name], text)}" for text in texts)


def _replicas(study: Study) -> str:
    replica = study.replica
    stages = f", each over {replica.pipeline_stages} workers" if replica.pipeline_stages > 1 else ""
    peers = f", {replica.mask_parallel} of them on the masks of one trial" if replica.mask_parallel > 1 else ""
    return f"{replica.count} with {replica.slots} slot(s) each{peers}{stages}"


def _listed(plan: LaunchPlan, spec: TrialSpec) -> ListedTrial:
    return {"method": spec.method, "pattern": spec.pattern, "seed": spec.seed, "settings": varied(plan, spec)}


def _memory(estimate: Estimate) -> MemoryRecord:
    study, load, machine = estimate.plan.study, estimate.load, estimate.machine
    return {
        "weights": load.weights,
        "slot": load.slot,
        "shared": estimate.shared.most,
        "shared budget": CACHE_BYTES,
        "worker": load.worker(slots=study.replica.slots, stages=study.replica.pipeline_stages),
        "needed": needed_bytes(study, load, machine=machine),
        "free": usable_bytes(study, machine=machine),
        "device": machine.device,
        "methods": [_method(spec, forecast) for spec, forecast in estimate.forecasts],
    }


def _method(spec: TrialSpec, forecast: Forecast) -> MethodRecord:
    held = forecast.state_bytes + forecast.masked_bytes + forecast.uncertain_bytes
    return {
        "method": spec.method,
        "pattern": spec.pattern,
        "state": dict(forecast.state_parts),
        "state_bytes": forecast.state_bytes,
        "uncertain": forecast.uncertain_bytes,
        "masked_weights": forecast.masked_bytes,
        "activations": max(0, forecast.slot_bytes - held),
        "slot": forecast.slot_bytes,
        "step_seconds": forecast.step_seconds,
        "start_seconds": forecast.start_seconds,
        "evaluation_seconds": forecast.evaluation_seconds,
        "measured": forecast.measured,
        "known": forecast.known,
    }
