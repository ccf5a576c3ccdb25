"""Open a launch for one process: its journal, what the journal tells of earlier processes, and the MLflow writer."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from nmlab.platform.launches.confirming import ConfirmationState
from nmlab.platform.launches.journal import Journal, trials_ended_for_good
from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.state import LaunchState
from nmlab.platform.launches.status import StatusFile
from nmlab.platform.launches.trial_ends import RecordCompletion
from nmlab.platform.planning.planned_stopping import early_stopping
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import WarmStarted
from nmlab.platform.records.payloads import FlatResult
from nmlab.platform.search.confirmation import Confirmations
from nmlab.platform.search.early_stopping import EarlyStopping
from nmlab.platform.tracking import MlflowStore, Recorder
from nmlab.platform.tracking.provenance import environment, facts_tags, provenance
from nmlab.platform.tracking.run_names import RunNames


@dataclass(frozen=True)
class OpenLaunch:
    """A launch that this process owns, with its files open.

    Attributes:
        plan: of the launch's study.
        launch: its folder.
        journal: every record, in order.
        recorder: writes records into the journal, and copies them into MLflow in a thread of its own.
        state: the launch at this moment, earlier processes included.
        status_file: what ``nmlab status`` reads.
        stopping: which configurations are stopped early, and why.
        completion: completes the records of trials that end.
        ended: the results of the trials that ended for good in earlier processes, by trial key.
        tags: the tags that all runs of this process get.
        warm: what its search starts from, beside its own points; None if it starts from nothing.
    """

    plan: LaunchPlan
    launch: Launch
    journal: Journal
    recorder: Recorder
    state: LaunchState
    status_file: StatusFile
    stopping: EarlyStopping
    completion: RecordCompletion
    ended: Mapping[str, FlatResult]
    tags: Mapping[str, str]
    warm: WarmStarted | None = None

    @property
    def confirmations(self) -> Confirmations:
        """What was chosen to be run on fresh seeds."""
        return self.state.confirmation.found

    @property
    def has_trials_left(self) -> bool:
        """Whether this process has trials to run."""
        return not self.plan.nothing_left_to_run(self.ended, self.confirmations, withheld=self.state.withheld)


def open_launch(plan: LaunchPlan, launch: Launch, *, tracking_uri: str) -> OpenLaunch:
    """Open a launch that this process owns; raises ``ValueError`` if its journal is damaged or of a newer nmlab."""
    store = MlflowStore(plan.study.name, launch=launch.name, uri=tracking_uri)
    journal = Journal(launch)
    ended = trials_ended_for_good(journal.read())
    state = _new_state(plan, launch)
    state.recall(journal.read(), ended_for_good=ended)
    stopping = early_stopping(plan)
    stopping.follow(journal.read())
    completion = RecordCompletion(launch, stopped_early=stopping.reasons, text_notes=plan.facts.text_notes)
    completion.recall(journal.read())
    launch.environment_file.write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
    tags = {**provenance(), **facts_tags(plan.facts)}
    baselines = [spec.key for spec in plan.baselines]
    names = RunNames.of_studies((*plan.earlier, plan.study), baselines=plan.baselines)
    recorder = Recorder(launch, journal=journal, store=store, baselines=baselines, tags=tags, names=names)
    return OpenLaunch(
        plan=plan,
        launch=launch,
        journal=journal,
        recorder=recorder,
        state=state,
        status_file=StatusFile(launch.status_file),
        stopping=stopping,
        completion=completion,
        ended=ended,
        tags=tags,
        warm=next((record for record in journal.read() if isinstance(record, WarmStarted)), None),
    )


def _new_state(plan: LaunchPlan, launch: Launch) -> LaunchState:
    study, confirmation = plan.study, plan.confirmation
    seeds = Counter(spec.configuration for spec in plan.baselines)
    return LaunchState(
        study=study.name,
        launch=launch.name,
        search_trials=plan.search_trials,
        metric=study.search.metrics[0],
        mode=study.search.modes[0],
        searched=study.searched,
        constraints=study.search.all_constraints,
        seeds=len(study.seeds),
        baselines={spec.key: seeds[spec.configuration] for spec in plan.baselines},
        confirmation=ConfirmationState(
            confirmation.trials if confirmation else 0,
            confirmation.seeds if confirmation else (),
            found=Confirmations(study.seeds),
            version=plan.search_version,
        ),
        later=plan.later_seeds(),
        search_limits=plan.search_limits(),
    )
