"""What is refused before a study or a trial starts, one check a function; each raises ``ValueError`` with one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nmlab.platform.planning.study_trials import ConfiguredTrial, trial_spec
from nmlab.platform.search.initial_points import Given
from nmlab.search_spaces.schema.modes import mode_problems
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import DefineByRun
from nmlab.trials.contract.declarations import common_metric, recorded_by
from nmlab.trials.contract.errors import SettingError, SourceError
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.training_losses import NEXT_TOKEN, TRAINING_OBJECTIVE
from nmlab.trials.contract.values import Scalar
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method
from nmlab.trials.methods.initial_masks.names import methods_behind, unknown_reason

if TYPE_CHECKING:
    from nmlab.trials.sizing.preflight import PreflightFacts


def check_pattern(trial: ConfiguredTrial) -> None:
    """Refuse a pattern that a trial's method cannot learn with these hyperparameters."""
    if reason := trial.method.unsupported_reason(Pattern.parse(trial.spec.pattern), trial.config):
        raise _refused(trial, reason, otherwise="pattern")


def check_text(trial: ConfiguredTrial) -> None:
    """Refuse a trial whose method needs another calibration text than it has."""
    if reason := trial.method.unsupported_calibration_reason(trial.config, trial.spec.calibration):
        raise _refused(trial, reason, otherwise="method")


def _refused(trial: ConfiguredTrial, reason: str, *, otherwise: str) -> SettingError:
    """Return the error for what a method refuses; it blames the hyperparameter that the reason names, if any."""
    name = trial.method.name
    named = [key for key in trial.spec.hyperparameters if re.search(rf"\b{re.escape(key)}\b", reason)]
    return SettingError(f"{name}: {reason}", method=name, setting=named[0] if named else otherwise, otherwise=otherwise)


def check_inputs(trial: ConfiguredTrial, facts: PreflightFacts) -> None:
    """Refuse a method, also of an initial mask, that needs layer inputs of a model where they cannot be measured."""
    from nmlab.trials.models.prunable import check_measurable

    for method in (trial.method, *_methods_of_start(trial)):
        if method.measures_inputs:
            try:
                check_measurable(facts.prunable_layers)
            except SourceError as error:
                raise ValueError(f"{method.name}: {error}") from error


def _methods_of_start(trial: ConfiguredTrial) -> tuple[Method, ...]:
    name = trial.spec.hyperparameters.get("initial_mask")
    return methods_behind(str(name)) if name is not None and unknown_reason(str(name)) is None else ()


def check_objectives(study: Study) -> None:
    """Refuse objectives that a method does not record, and a search that goes in their worse direction.

    It concerns methods that declare their metrics only in their class; the schema checks all others. A method that
    declares nothing may record anything.
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


def check_training_losses(study: Study, trials: Iterable[ConfiguredTrial]) -> None:
    """Refuse to select by a loss of training where trials lower different ones: their values do not compare."""
    searched = [name for name in study.search.metrics if name in ("train/loss", "train/residual")]
    found = {str(trial.spec.hyperparameters.get(TRAINING_OBJECTIVE, NEXT_TOKEN)) for trial in trials}
    if searched and len(found) > 1:
        raise ValueError(
            f"search.metric = {searched[0]}: trials with objective {' and '.join(sorted(found))} have losses that do "
            "not compare; search by a perplexity"
        )


def check_baseline(study: Study, baseline: ConfiguredTrial) -> None:
    """Refuse a baseline that the search runs too: it would be counted twice."""
    own = baseline.spec
    beside: dict[str, Scalar] = {"method": own.method, "pattern": own.pattern, SAMPLES: own.calibration.samples}
    try:
        point = DefineByRun(study)(Given({**own.hyperparameters, **beside}))
    except ValueError:
        return  # the space does not have it
    if point["method"] == own.method and trial_spec(study, point, seed=own.seed).configuration == own.configuration:
        raise ValueError(f"baselines: {own.method} {own.pattern} is a point of the search too; take it out of one")


def check_pipeline_stages(study: Study, methods: Iterable[str], *, blocks: int) -> None:
    """Refuse more pipeline stages than decoder blocks, and what stages do not support."""
    stages = study.replica.pipeline_stages
    if stages == 1:
        return
    if stages > blocks:
        raise ValueError(
            f"replica.pipeline_stages = {stages}: {study.model.source} has {blocks} decoder blocks; "
            f"expected at most {blocks}"
        )
    if study.data.evaluation.tasks:
        raise ValueError(
            f"replica.pipeline_stages = {stages}: tasks need a whole model; use pipeline_stages: 1 or tasks: []"
        )
    if whole := sorted(method for method in set(methods) if not registry.get(method).supports_pipeline_stages):
        raise ValueError(
            f"replica.pipeline_stages = {stages}: {', '.join(whole)} works on whole models only; use pipeline_stages: 1"
        )


def check_mask_parallel(study: Study, trials: Iterable[ConfiguredTrial]) -> None:
    """Refuse more mask-parallel peers than slots, and trials with too few masks a step."""
    replica, slots = study.replica, study.replica.count * study.replica.slots
    asked = f"replica.mask_parallel = {replica.mask_parallel}"
    if replica.mask_parallel == 1:
        return
    if replica.mask_parallel > slots:
        raise ValueError(f"{asked}: {replica.count} replica(s) of {replica.slots} slot(s) are {slots} in all")
    most = max(trial.spec.masks_a_step for trial in trials)
    if most < replica.mask_parallel:
        raise ValueError(f"{asked}: no trial draws more than {most} mask(s) a step; raise masks_per_step")


def check_slots(study: Study, *, has_gpus: bool) -> None:
    """Refuse several slots on a model in pipeline stages whose workers will have GPUs.

    ``has_gpus`` says whether workers get a GPU if the study does not say.
    """
    replica = study.replica
    on_gpus = has_gpus if replica.resources.gpus is None else replica.resources.gpus > 0
    if why := why_deadlocked(slots=replica.slots, stages=replica.pipeline_stages, on_gpus=on_gpus):
        raise ValueError(why)


def why_deadlocked(*, slots: int, stages: int, on_gpus: bool) -> str:
    """Return why slots would deadlock; "" if they would not.

    Slots are threads. Their NCCL transfers between stages are queued on one stream of a GPU, in a different order at
    each worker, and the backwards of all slots run on one thread a GPU, which waits in the first receive.
    """
    if slots == 1 or stages == 1 or not on_gpus:
        return ""
    return (
        f"replica.slots = {slots} with replica.pipeline_stages = {stages}: on GPUs, trials that run at once on one "
        "model in pipeline stages deadlock; use slots: 1 (or pipeline_stages: 1, and more replicas)"
    )
