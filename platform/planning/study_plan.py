"""From a study to its plan: its trials are configured once, then checked against methods, model and text.

What a study says is checked before torch is loaded, which only the checks of its model and text need.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from nmlab.platform.planning import checks
from nmlab.platform.planning.blame import telling_place
from nmlab.platform.planning.planned_confirmation import PlannedConfirmation, planned_confirmation
from nmlab.platform.planning.study_trials import (
    StudyTrials,
    baseline_specs,
    baseline_trials,
    configure_study,
    example_specs,
    longest_trial,
)
from nmlab.platform.search.confirmation import Confirmations
from nmlab.platform.search.initial_points import configurations_tried
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.trial_spec import TrialSpec

if TYPE_CHECKING:
    from nmlab.trials.sizing.preflight import PreflightFacts


@dataclass(frozen=True)
class LaunchPlan:
    """What a launch of a study will run.

    Attributes:
        study: the study.
        baselines: the trials of its baselines, with every seed.
        examples: trials of the search that together use every method, name, listed value and end of a range.
        configurations: how many configurations the search tries.
        facts: what was found out about model and texts.
    """

    study: Study
    baselines: tuple[TrialSpec, ...]
    examples: tuple[TrialSpec, ...]
    configurations: int
    facts: PreflightFacts

    @classmethod
    def unchecked(cls, study: Study, *, facts: PreflightFacts) -> Self:
        """Return the plan of a study that needs no checks, with facts that are known."""
        return cls(
            study=study,
            baselines=tuple(baseline_specs(study)),
            examples=tuple(example_specs(study)),
            configurations=configurations_tried(study),
            facts=facts,
        )

    @cached_property
    def confirmation(self) -> PlannedConfirmation | None:
        """What runs on fresh seeds once the search has ended; None if the study asks for nothing."""
        return planned_confirmation(self.study, self.baselines)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all trials: those of the search, then those on which it is confirmed."""
        return (*self.study.seeds, *(() if self.confirmation is None else self.confirmation.seeds))

    @property
    def search_trials(self) -> int:
        """The number of trials of the search and of the baselines, without those that confirm them."""
        return len(self.baselines) + self.configurations * len(self.study.seeds)

    @property
    def trials(self) -> int:
        """The number of trials (child runs in MLflow) when everything has ended, at most.

        Fewer confirm a search of which fewer configurations finish than are to be chosen.
        """
        return self.search_trials + (0 if self.confirmation is None else self.confirmation.trials)

    @property
    def trials_text(self) -> str:
        """The number of trials in words, those that confirm the search apart."""
        beside = "" if self.confirmation is None else f" + {self.confirmation.trials} to confirm"
        return f"{self.search_trials} trials{beside}"

    def is_over(self, ended: Collection[str], confirmations: Confirmations) -> bool:
        """Return whether no trial is left to run, given the keys of those that have ended and what was chosen."""
        if self.confirmation is None:
            return len(ended) >= self.trials
        return bool(confirmations.choices) and len(ended) >= self.search_trials + len(confirmations.trials)

    @property
    def longest_trial(self) -> int:
        """The most steps that a trial of the search takes."""
        return longest_trial(self.examples)


def check_settings(study: Study) -> StudyTrials:
    """Check the methods and their settings, without reading model and text; return the trials that were checked.

    Raises ``ValueError`` with one line, which begins with the place of the setting to blame.
    """
    with telling_place(study):
        return _checked(study)


def _checked(study: Study) -> StudyTrials:
    trials = configure_study(study)
    for trial in trials.all:
        checks.check_pattern(trial)
    checks.check_objectives(study)
    for baseline in trials.baselines:
        checks.check_baseline(study, baseline)
    # Studies that ask for GPUs; `check_study_fits` checks those that get GPUs without asking.
    checks.check_slots(study, has_gpus=False)
    for trial in trials.examples:
        checks.check_text(trial)
    checks.check_mask_parallel(study, trials.examples)
    return trials


def plan_study(study: Study) -> LaunchPlan:
    """Return the plan of a study, after all checks that need no process; raises ``ValueError`` with one line."""
    with telling_place(study):
        trials = _checked(study)
        facts = _facts(study, trials)
        baselines = baseline_trials(study, trials.baselines)
        _check_with_facts(study, trials, facts)
    return LaunchPlan(
        study=study,
        baselines=tuple(baselines),
        examples=tuple(example_specs(study)),
        configurations=configurations_tried(study),
        facts=facts,
    )


def _facts(study: Study, trials: StudyTrials) -> PreflightFacts:
    from nmlab.trials.sizing.preflight import preflight

    largest = max((trial.spec for trial in trials.examples), key=lambda spec: spec.calibration.samples)
    return preflight(
        largest.model,
        patterns=[Pattern.parse(pattern) for pattern in study.patterns],
        calibration=largest.calibration,
        evaluation=largest.evaluation,
        validation=largest.validation,
    )


def _check_with_facts(study: Study, trials: StudyTrials, facts: PreflightFacts) -> None:
    for trial in (*trials.examples, *trials.baselines):
        checks.check_inputs(trial, facts)
    methods = {trial.spec.method for trial in (*trials.examples, *trials.baselines)}
    checks.check_pipeline_stages(study, methods, blocks=facts.blocks)
