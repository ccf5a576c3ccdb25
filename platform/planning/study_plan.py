"""From a study to its trials, checked against the registered methods, the model and the text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nmlab.platform.planning.admission import check_slots
from nmlab.platform.planning.examples import to_check, to_plan
from nmlab.platform.planning.objective_check import check_objectives
from nmlab.platform.search.initial_points import Given, initial_points
from nmlab.platform.search.points import configurations_tried
from nmlab.search_spaces.schema.conditions import BESIDE_SPACE
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import DefineByRun, baseline_points
from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method
from nmlab.trials.models.prunable import check_measurable
from nmlab.trials.sizing.preflight import Facts, preflight

Configuration = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a launch of a study will run: baselines, the number of searched configurations, facts on model and text."""

    study: Study
    baselines: tuple[TrialSpec, ...]
    configurations: int
    facts: Facts

    @property
    def trials(self) -> int:
        """The number of trials (child runs in MLflow) when everything has ended."""
        return len(self.baselines) + self.configurations * len(self.study.seeds)


def check_settings(study: Study) -> None:
    """Check the methods and their settings, without model and text; raises ``ValueError`` with one line."""
    first = [DefineByRun(study)(Given(values)) for values in initial_points(study)]
    for configuration in [*to_check(study), *baseline_points(study), *first]:
        _check(configuration)
    check_objectives(study)
    _check_baselines(study)
    check_slots(study, has_gpus=False)  # studies that ask for GPUs; `admit` checks those that get GPUs without asking


def plan_study(study: Study) -> Plan:
    """Return the plan of a study, after all checks that need no process; raises ``ValueError`` with one line."""
    check_settings(study)
    examples = to_check(study)
    specs = [trial_spec(study, configuration, seed=study.seeds[0]) for configuration in examples]
    example = max(specs, key=lambda spec: spec.calibration.samples)
    facts = preflight(
        example.model,
        patterns=[Pattern.parse(pattern) for pattern in study.patterns],
        calibration=example.calibration,
        evaluation=example.evaluation,
    )
    check_text(specs)
    check_inputs([*specs, *baseline_specs(study)], facts)
    check_pipeline_stages(study, [*examples, *baseline_points(study)], blocks=facts.blocks)
    check_mask_parallel(study, examples)
    return Plan(study, tuple(baseline_specs(study)), configurations_tried(study), facts)


def trial_spec(study: Study, configuration: Configuration, *, seed: int) -> TrialSpec:
    """Return the specification of one configuration with one seed, with its method's defaults filled in."""
    given = {name: value for name, value in configuration.items() if name not in BESIDE_SPACE}
    calibration = study.data.calibration
    return TrialSpec(
        method=configuration["method"],
        pattern=configuration["pattern"],
        seed=seed,
        hyperparameters=registry.get(configuration["method"]).configure(given).model_dump(),
        model=study.model,
        calibration=calibration.with_samples(configuration.get(SAMPLES, calibration.sizes[0])),
        evaluation=study.data.evaluation,
        budget=study.budget.of_a_trial,
        cadence=study.cadence,
    )


def baseline_specs(study: Study) -> list[TrialSpec]:
    """Return the trials of the baselines.

    A method that draws nothing at random runs once, not once a seed; the dense model runs once, not once a pattern; one
    that reads no text runs once, not once a number of samples.
    """
    specs: list[TrialSpec] = []
    textless: list[Configuration] = []
    for configuration in baseline_points(study):
        method = registry.get(str(configuration["method"]))
        if not method.sparse and configuration["pattern"] != study.patterns[0]:
            continue
        if not method.reads_text:
            same = {name: value for name, value in configuration.items() if name != SAMPLES}
            if same in textless:
                continue
            textless.append(same)
        seeds = study.seeds if method.depends_on_seed else study.seeds[:1]
        specs += [trial_spec(study, configuration, seed=seed) for seed in seeds]
    return specs


def example_specs(study: Study) -> list[TrialSpec]:
    """Return trials that together use every method, name, listed value and end of a range; see `to_plan`."""
    specs = [trial_spec(study, configuration, seed=study.seeds[0]) for configuration in to_plan(study)]
    return list({spec.key: spec for spec in specs}.values())


def longest_trial(study: Study) -> int:
    """Return the most steps that a trial of the search takes; by default those of its method."""
    specs = [trial_spec(study, configuration, seed=study.seeds[0]) for configuration in to_plan(study)]
    return max(int(spec.hyperparameters.get("steps") or 0) for spec in specs)


def _check(configuration: Configuration) -> None:
    method: Method = registry.get(str(configuration["method"]))
    pattern = Pattern.parse(str(configuration["pattern"]))
    config = method.configure({n: v for n, v in configuration.items() if n not in BESIDE_SPACE})
    if reason := method.unsupported_reason(pattern, config):
        raise ValueError(f"{method.name}: {reason}")


def check_text(specs: Iterable[TrialSpec]) -> None:
    """Raise ``ValueError`` for a trial whose method needs more calibration text than it has."""
    for spec in specs:
        method = registry.get(spec.method)
        config = method.configure(spec.hyperparameters)
        if reason := method.unsupported_text_reason(config, minibatches=spec.calibration.minibatches):
            raise ValueError(f"{method.name}: {reason}")


def check_inputs(specs: Iterable[TrialSpec], facts: Facts) -> None:
    """Raise ``ValueError`` if a method, or that of an initial mask, measures layer inputs that cannot be measured."""
    for spec in specs:
        for name in (spec.method, spec.hyperparameters.get("initial_mask")):
            if name in registry.names() and registry.get(str(name)).measures_inputs:
                try:
                    check_measurable(facts.prunable_layers)
                except SourceError as error:
                    raise ValueError(f"{name}: {error}") from error


def check_pipeline_stages(study: Study, configurations: Iterable[Configuration], *, blocks: int) -> None:
    """Raise ``ValueError`` for more pipeline stages than decoder blocks, and for what stages do not support."""
    stages = study.replica.shards
    if stages == 1:
        return
    if stages > blocks:
        raise ValueError(
            f"replica.shards = {stages}: {study.model.source} has {blocks} decoder blocks; expected at most {blocks}"
        )
    if study.data.evaluation.tasks:
        raise ValueError(f"replica.shards = {stages}: tasks need a whole model; use shards: 1 or tasks: []")
    methods = {str(configuration["method"]) for configuration in configurations}
    if whole := sorted(method for method in methods if not registry.get(method).shardable):
        raise ValueError(f"replica.shards = {stages}: {', '.join(whole)} works on whole models only; use shards: 1")


def check_mask_parallel(study: Study, configurations: Iterable[Configuration]) -> None:
    """Raise ``ValueError`` for more mask-parallel peers than slots, and for trials with too few masks a step."""
    replica, slots = study.replica, study.replica.count * study.replica.slots
    asked = f"replica.participants = {replica.participants}"
    if replica.participants == 1:
        return
    if replica.participants > slots:
        raise ValueError(f"{asked}: {replica.count} replica(s) of {replica.slots} slot(s) are {slots} in all")
    specs = [trial_spec(study, configuration, seed=study.seeds[0]) for configuration in configurations]
    most = max(int(spec.hyperparameters.get("masks_per_step") or 1) for spec in specs)
    if most < replica.participants:
        raise ValueError(f"{asked}: no trial draws more than {most} mask(s) a step; raise masks_per_step")


def _check_baselines(study: Study) -> None:
    """Raise ``ValueError`` for a baseline that the search runs too: it would be counted twice."""
    for baseline in baseline_points(study):
        own = trial_spec(study, baseline, seed=0)
        beside = {"method": own.method, "pattern": own.pattern, SAMPLES: own.calibration.samples}
        try:
            point = DefineByRun(study)(Given({**own.hyperparameters, **beside}))
        except ValueError:
            continue  # the space does not have it
        if point["method"] == own.method and trial_spec(study, point, seed=0).configuration == own.configuration:
            raise ValueError(f"baselines: {own.method} {own.pattern} is a point of the search too; take it out of one")
