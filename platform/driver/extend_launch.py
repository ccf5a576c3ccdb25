"""Extend a launch: another version of its study, checked against the one that it has, and what that adds.

Nothing here writes. `Sweep.run` calls `Launch.extend` once its process owns the launch, before it does anything else:
that writes `study-2.yaml` (3, ...) and then names it in `launch.json`. Killed before the second write, the launch is
as it was; killed after it, `nmlab resume` goes on with the new version. What follows is written as by any process of a
launch: `LaunchBegan` with the new number of trials, and the records of what is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.platform.driver.start_launch import ReadyLaunch, continue_launch
from nmlab.platform.launches.journal import read_without_metrics
from nmlab.platform.launches.launch import Launch
from nmlab.platform.planning.study_plan import LaunchPlan, plan_study
from nmlab.platform.records.events import JournalRecord
from nmlab.platform.search.changed_space import space_problem
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.extension import change_lines, changed_settings, extension_problems
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.values import JsonObject


@dataclass(frozen=True)
class Extension:
    """A version of a launch's study that it does not have yet.

    Attributes:
        launch: the launch.
        plan: of the new version.
        changes: what it changes: setting -> value before and value after.
        trials_before: the trials of the launch, at most, without it.
        trials: the trials of the launch, at most, with it.
        search_stopped: why its search proposes nothing more with this version, in one line; "" if it does.
    """

    launch: Launch
    plan: LaunchPlan
    changes: dict[str, tuple[object, object]]
    trials_before: int
    trials: int
    search_stopped: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """What it changes and adds, for a person."""
        before, study = self.plan.earlier[-1], self.plan.study
        more = self.trials - self.trials_before
        trials = f"{more} trial{'' if more == 1 else 's'} more: {self.trials_before} -> {self.trials}"
        return (
            f"{self.launch.name}: version {self.plan.version} of its study",
            *(f"  {line}" for line in change_lines(before, study)),
            trials if more else f"no trial more: {self.trials} in all",
            *([self.search_stopped] if self.search_stopped else []),
        )

    def record(self) -> JsonObject:
        """Return it as plain JSON."""
        return {
            "launch": self.launch.name,
            "version": self.plan.version,
            "changes": {path: {"before": old, "after": new} for path, (old, new) in self.changes.items()},
            "trials before": self.trials_before,
            "trials": self.trials,
            **({"search stopped": self.search_stopped} if self.search_stopped else {}),
        }


def plan_extension(launch: Launch, study: Study) -> Extension:
    """Check a study as the next version of a launch's; nothing is written.

    Raises ``ValueError`` for a launch that is damaged, a study that cannot be planned, one that changes what must stay,
    with a line for each setting, and one that changes nothing.
    """
    earlier = tuple(launch.study(version) for version in launch.versions())
    before = earlier[-1]
    if problems := list(extension_problems(before, study)):
        raise StudyError(problems, source=study.places)
    study = _in_order(before, study)
    if not changed_settings(before, study):
        raise ValueError(f"launch {launch.name}: its study has these settings already; expected one that differs")
    plan = plan_study(study, earlier=earlier)
    if problem := _space_problem(plan):
        raise StudyError([problem], source=study.places)
    records = read_without_metrics(launch)
    old = LaunchPlan.unchecked(before, facts=plan.facts, earlier=earlier[:-1])
    return Extension(
        launch=launch,
        plan=plan,
        changes=changed_settings(before, study),
        trials_before=_trials_in_all(old, records),
        trials=_trials_in_all(plan, records),
        search_stopped=plan.search_limits(records).line,
    )


def extend_launch(
    extension: Extension,
    *,
    tracking_uri: str | None = None,
    address: str | None = None,
    take_over: bool = False,
) -> ReadyLaunch:
    """Make an extended launch ready; the new version of its study is written once this process owns the launch.

    The arguments, and what is raised, are those of `continue_launch`.
    """
    return continue_launch(
        extension.launch, tracking_uri=tracking_uri, address=address, take_over=take_over, plan=extension.plan
    )


def _in_order(before: Study, study: Study) -> Study:
    """Return a study whose seeds and baselines begin with the earlier ones: what runs once runs on the first seed."""
    seeds = [*before.seeds, *(seed for seed in study.seeds if seed not in before.seeds)]
    baselines = [*before.baselines, *(item for item in study.baselines if item not in before.baselines)]
    return study.model_copy(update={"seeds": tuple(seeds), "baselines": tuple(baselines)})


def _space_problem(plan: LaunchPlan) -> str:
    asked = plan.study.search.samples
    to_try = plan.configurations if asked is None else asked
    return space_problem(plan.study, earlier=plan.earlier, to_try=to_try, possible=plan.configurations)


def _trials_in_all(plan: LaunchPlan, records: Sequence[JournalRecord]) -> int:
    return plan.trials_in_all(plan.confirmations(records), withheld=plan.withheld(records))
