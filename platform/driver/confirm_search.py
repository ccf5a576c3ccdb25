"""Choose what confirms a search, once the search has ended: from the journal, into the journal, and never again."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nmlab.platform.driver.open_launch import OpenLaunch
from nmlab.platform.launches.journal import read_without_metrics
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import ConfirmationChosen, JournalRecord
from nmlab.platform.records.payloads import ChosenRecord
from nmlab.platform.search.confirmation import (
    Searched,
    best_of_each_pattern,
    ends_of_dropped,
    number_asked,
    searched_configurations,
)
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_tags import Role
from nmlab.trials.contract.trial_spec import TrialSpec


def trials_to_confirm(opened: OpenLaunch, *, keep: Callable[[JournalRecord], None]) -> list[TrialSpec]:
    """Return the trials that confirm the search of a launch, in the order in which they are run.

    What they are is chosen by the first process of the launch that comes to the end of the search, and is read from the
    journal by any later one. After an extension that changes the search it is chosen anew; what an earlier choice
    named stays if it has ended, and is closed if it has not.

    Args:
        opened: the launch; every trial of its search has ended for Tune.
        keep: is given what is chosen now, after the ends of what it leaves out, and returns once a record is on disk
            and in the state of the launch.
    """
    if opened.plan.confirmation is None:
        return []
    confirmations = opened.confirmations
    if not confirmations.is_chosen_since(opened.plan.search_version):
        # The driver loop may be writing: of the journal's file only whole lines are read.
        records = read_without_metrics(opened.launch)
        choice = choose(opened.plan, records)
        if choice is not None:
            for end in ends_of_dropped(records, choice, ordinary=opened.plan.study.seeds):
                keep(end)
            keep(choice)
    return confirmations.to_run_since(opened.plan.search_version)


def choose(plan: LaunchPlan, records: Sequence[JournalRecord]) -> ConfirmationChosen | None:
    """Return what confirms the search of a plan: its best configurations, and baselines that use random numbers.

    None is returned while a trial of the search can go on. Without a complete configuration there is nothing to
    compare, and what is chosen is empty.

    Args:
        plan: of a study that asks for a confirmation.
        records: of the launch's journal.
    """
    search, asked = plan.study.search, plan.study.search.confirm
    assert asked is not None
    assert plan.confirmation is not None
    found = searched_configurations(
        records,
        metric=search.metrics[0],
        seeds=plan.search_seeds,
        not_searched={spec.key for spec in plan.baselines},
        later=plan.added_seeds,
        constraints=search.all_constraints,
    )
    if not all(item.has_ended for item in found):
        return None
    best = best_of_each_pattern(found, top=asked.top, mode=search.modes[0])
    chosen = [*map(_searched, best), *(map(_baseline, plan.confirmation.baselines) if best else ())]
    choice = ConfirmationChosen(
        seeds=plan.confirmation.seeds,
        chosen=chosen,
        metric=search.metrics[0],
        asked=number_asked(found, top=asked.top),
        looked_at=len(found),
        tags={run_tags.CONFIRMATION_SEEDS: ",".join(map(str, plan.confirmation.seeds))},
        version=plan.version if plan.earlier else None,
    )
    dropped = ends_of_dropped(records, choice, ordinary=plan.study.seeds)
    followed = [*records, *dropped, choice]
    in_all = plan.trials_in_all(plan.confirmations(followed), withheld=plan.withheld(records))
    return replace(choice, tags={run_tags.PLANNED: str(in_all), **choice.tags})


def _searched(found: Searched) -> ChosenRecord:
    assert found.mean is not None, "only complete configurations are chosen"
    return {"configuration": found.key, "role": Role.SEARCH, "mean": found.mean, "spec": found.spec}


def _baseline(spec: TrialSpec) -> ChosenRecord:
    return {"configuration": spec.configuration, "role": Role.BASELINE, "spec": spec.model_dump(mode="json")}
