"""The trials by which a study is checked and sized, each with its method and the method's configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from nmlab.platform.planning.examples import configurations_to_check, configurations_to_plan
from nmlab.platform.search.initial_points import Given, initial_points
from nmlab.search_spaces.schema.conditions import BESIDE_SPACE
from nmlab.search_spaces.schema.sections import Data
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun, baseline_points
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.contract.values import Scalar
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, MethodConfig


@dataclass(frozen=True)
class ConfiguredTrial:
    """A trial with its method and the method's configuration, which holds the hyperparameters as typed values."""

    spec: TrialSpec
    method: Method
    config: MethodConfig


@dataclass(frozen=True)
class StudyTrials:
    """Trials with the first seed of a study.

    Attributes:
        examples: together they use every method, name, listed value and end of a range (see `configurations_to_check`).
        baselines: one for each method, pattern and number of samples that the study names.
        initial: the points that the search tries first.
    """

    examples: tuple[ConfiguredTrial, ...]
    baselines: tuple[ConfiguredTrial, ...]
    initial: tuple[ConfiguredTrial, ...]

    @property
    def all(self) -> tuple[ConfiguredTrial, ...]:
        return (*self.examples, *self.baselines, *self.initial)


def configure_study(study: Study) -> StudyTrials:
    """Return the trials by which a study is checked; raises ``ValueError`` for a value that its method refuses."""
    first = [DefineByRun(study)(Given(values)) for values in initial_points(study)]
    examples = _configured(study, configurations_to_check(study))
    return StudyTrials(examples, _configured(study, baseline_points(study)), _configured(study, first))


def configured(spec: TrialSpec) -> ConfiguredTrial:
    """Return a trial with its method and the method's configuration; raises ``ValueError`` if the method refuses it."""
    method = registry.get(spec.method)
    return ConfiguredTrial(spec, method, method.configure(spec.hyperparameters))


def configured_trial(study: Study, configuration: Configuration, *, seed: int) -> ConfiguredTrial:
    """Return the trial of one configuration with one seed, with its method's defaults filled in."""
    given = {name: value for name, value in configuration.items() if name not in BESIDE_SPACE}
    method = registry.get(str(configuration["method"]))
    config = method.configure(given)
    spec = TrialSpec(
        method=configuration["method"],
        pattern=configuration["pattern"],
        seed=seed,
        hyperparameters=config.model_dump(),
        model=study.model,
        calibration=_calibration(study.data, configuration.get(SAMPLES)),
        evaluation=study.data.evaluation,
        validation=study.data.validation,
        neutral=study.data.neutral_texts or None,
        budget=study.budget.of_a_trial,
        cadence=study.intervals,
    )
    return ConfiguredTrial(spec, method, config)


def _calibration(data: Data, samples: Scalar) -> CalibrationSpec:
    """Return the text that a trial learns from; what is left of a built-in corpus if validation takes a part of it."""
    spec = data.calibration.with_samples(cast("int", samples or data.calibration.sizes[0]))
    return spec.model_copy(update={"part": data.learning_part})


def trial_spec(study: Study, configuration: Configuration, *, seed: int) -> TrialSpec:
    """Return the specification of one configuration with one seed, with its method's defaults filled in."""
    return configured_trial(study, configuration, seed=seed).spec


def baseline_specs(study: Study) -> list[TrialSpec]:
    """Return the trials of the baselines (see `baseline_trials`)."""
    return baseline_trials(study, _configured(study, baseline_points(study)))


def baseline_trials(study: Study, baselines: Iterable[ConfiguredTrial]) -> list[TrialSpec]:
    """Return the trials of the baselines, given one trial of each configuration.

    A method that draws nothing at random runs once, not once a seed; the dense model runs once, not once a pattern; one
    that reads no text runs once, not once a number of samples.
    """
    specs: list[TrialSpec] = []
    textless: list[tuple[str, str, Mapping[str, Scalar]]] = []
    for trial in baselines:
        method, spec = trial.method, trial.spec
        if not method.sparse and spec.pattern != study.patterns[0]:
            continue
        if not method.reads_text:
            same = (spec.method, spec.pattern, spec.hyperparameters)
            if same in textless:
                continue
            textless.append(same)
        seeds = study.seeds if method.uses_seed(trial.config) else study.seeds[:1]
        specs += [spec.model_copy(update={"seed": seed}) for seed in seeds]
    return specs


def example_specs(study: Study) -> list[TrialSpec]:
    """Return trials that use every method, name, listed value and end of a range (see `configurations_to_plan`)."""
    specs = [trial_spec(study, configuration, seed=study.seeds[0]) for configuration in configurations_to_plan(study)]
    return list({spec.key: spec for spec in specs}.values())


def longest_trial(specs: Iterable[TrialSpec]) -> int:
    """Return the most steps that any of some trials takes; by default those of its method."""
    return max(int(spec.hyperparameters.get("steps") or 0) for spec in specs)


def _configured(study: Study, configurations: Iterable[Configuration]) -> tuple[ConfiguredTrial, ...]:
    return tuple(configured_trial(study, each, seed=study.seeds[0]) for each in configurations)
