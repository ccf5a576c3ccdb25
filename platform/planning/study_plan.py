"""From a study to its plan: its trials are configured once, then checked against methods, model and text.

What a study says is checked before torch is loaded, which only the checks of its model and text need.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
from nmlab.platform.records.events import JournalRecord
from nmlab.platform.search.confirmation import Confirmations, confirmations_of
from nmlab.platform.search.initial_points import configurations_tried
from nmlab.platform.search.later_seeds import LaterSeeds
from nmlab.platform.search.search_limits import SearchLimits, ToConfirm
from nmlab.search_spaces.schema.extension import changes_search
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
        earlier: the earlier versions of the study of a launch that was extended, oldest first.
    """

    study: Study
    baselines: tuple[TrialSpec, ...]
    examples: tuple[TrialSpec, ...]
    configurations: int
    facts: PreflightFacts
    earlier: tuple[Study, ...] = ()

    @classmethod
    def unchecked(cls, study: Study, *, facts: PreflightFacts, earlier: tuple[Study, ...] = ()) -> Self:
        """Return the plan of a study that needs no checks, with facts that are known."""
        return cls(
            study=study,
            baselines=tuple(baseline_specs(study)),
            examples=tuple(example_specs(study)),
            configurations=configurations_tried(study),
            facts=facts,
            earlier=earlier,
        )

    @property
    def version(self) -> int:
        """Which version of the launch's study this is, counted from 1."""
        return len(self.earlier) + 1

    @cached_property
    def search_version(self) -> int:
        """The newest version of the study that changed what is searched or confirmed."""
        versions = (*self.earlier, self.study)
        changed = [number for number in range(2, self.version + 1) if changes_search(*versions[number - 2 : number])]
        return max(changed, default=1)

    @property
    def search_seeds(self) -> tuple[int, ...]:
        """The seeds with which the launch began: what the search is told of a configuration is by these."""
        return (*self.earlier, self.study)[0].seeds

    @property
    def added_seeds(self) -> tuple[int, ...]:
        """The seeds that later versions of the study added."""
        return tuple(seed for seed in self.study.seeds if seed not in self.search_seeds)

    def later_seeds(self, records: Iterable[JournalRecord] = ()) -> LaterSeeds:
        """Return which trials the added seeds have by the records of a journal so far; it accepts further ones."""
        baselines = {spec.key for spec in self.baselines}
        metrics = self.study.search.metrics
        later = LaterSeeds(search=self.search_seeds, later=self.added_seeds, metrics=metrics, not_searched=baselines)
        later.follow(records)
        return later

    def search_limits(self, records: Iterable[JournalRecord] = ()) -> SearchLimits:
        """Return what follows the records of a journal, given the first, and says when the search stops."""
        limits = SearchLimits(
            self.study,
            seeds=self.search_seeds,
            baselines=[spec.key for spec in self.baselines],
            configurations=self.configurations,
            version=self.search_version,
            to_confirm=self._to_confirm,
        )
        limits.follow(records)
        return limits

    @property
    def _to_confirm(self) -> ToConfirm:
        if (confirmation := self.confirmation) is None:
            return ToConfirm()
        again = {spec.configuration for spec in confirmation.baselines}
        keys: dict[str, list[str]] = {}
        for spec in self.baselines:
            if spec.configuration in again:
                keys.setdefault(spec.configuration, []).append(spec.key)
        seeds = len(confirmation.seeds)
        return ToConfirm(confirmation.configurations * seeds, baselines=tuple(map(tuple, keys.values())), seeds=seeds)

    def withheld(self, records: Sequence[JournalRecord]) -> int:
        """Return how many trials a launch with these records leaves out.

        They are those of added seeds of what is not complete, and those of configurations that a search which has
        stopped does not propose.
        """
        return self.later_seeds(records).withheld + self.search_limits(records).withheld

    @cached_property
    def confirmation(self) -> PlannedConfirmation | None:
        """What runs on fresh seeds once the search has ended; None if the study asks for nothing."""
        return planned_confirmation(self.study, self.baselines, earlier=self.earlier)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all trials: those of the search, then those on which it is confirmed."""
        return (*self.study.seeds, *(() if self.confirmation is None else self.confirmation.seeds))

    @property
    def search_trials(self) -> int:
        """The number of trials of the search and of the baselines, without those that confirm them.

        A configuration that is not complete on the seeds of the search has none with those that were added.
        """
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

    def nothing_left_to_run(self, ended: Collection[str], confirmations: Confirmations, *, withheld: int = 0) -> bool:
        """Return whether no trial is left to run.

        Args:
            ended: the keys of the trials that have ended.
            confirmations: what was chosen.
            withheld: the trials that are left out, see `withheld`.
        """
        needs_choice = self.confirmation is not None and not confirmations.is_settled_since(self.search_version)
        return not needs_choice and len(ended) >= self.trials_in_all(confirmations, withheld=withheld)

    def trials_in_all(self, confirmations: Confirmations, *, withheld: int = 0) -> int:
        """Return the number of trials, given what was chosen and the trials that are left out."""
        chosen = len(confirmations.trials)
        if self.confirmation is not None and not confirmations.is_settled_since(self.search_version):
            chosen = max(chosen, self.confirmation.trials)
        return self.search_trials + chosen - withheld

    def nothing_left_after(self, records: Sequence[JournalRecord], ended: Collection[str]) -> bool:
        """Return whether a launch with these records has no trial left to run."""
        return self.nothing_left_to_run(ended, self.confirmations(records), withheld=self.withheld(records))

    def confirmations(self, records: Iterable[JournalRecord]) -> Confirmations:
        """Return what the records of the launch's journal say of confirmations."""
        return confirmations_of(records, ordinary=self.study.seeds)

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
    checks.check_training_losses(study, [trial for trial in trials.all if trial.method.learned])
    for baseline in trials.baselines:
        checks.check_baseline(study, baseline)
    # Studies that ask for GPUs; `check_study_fits` checks those that get GPUs without asking.
    checks.check_slots(study, has_gpus=False)
    for trial in trials.examples:
        checks.check_text(trial)
    checks.check_mask_parallel(study, trials.examples)
    return trials


def plan_study(study: Study, *, earlier: tuple[Study, ...] = ()) -> LaunchPlan:
    """Return the plan of a study, after all checks that need no process; raises ``ValueError`` with one line.

    ``earlier`` are the earlier versions of the study of a launch that was extended, oldest first.
    """
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
        earlier=earlier,
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
        neutral=largest.neutral or (),
    )


def _check_with_facts(study: Study, trials: StudyTrials, facts: PreflightFacts) -> None:
    for trial in (*trials.examples, *trials.baselines):
        checks.check_inputs(trial, facts)
    methods = {trial.spec.method for trial in (*trials.examples, *trials.baselines)}
    checks.check_pipeline_stages(study, methods, blocks=facts.blocks)
