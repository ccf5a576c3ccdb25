"""Record the evaluation of an external model in the tracking store, so that the tables of trials show it too."""

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmlab.platform.records.payloads import ResultRecord
from nmlab.platform.tracking import MlflowStore
from nmlab.platform.tracking.named_launch import launch_in_store
from nmlab.platform.tracking.provenance import provenance
from nmlab.reports.read.evaluations import read_evaluation
from nmlab.reports.read.store import RunStore, newest_or_named, open_store, reading
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.model_settings import settings_of
from nmlab.trials.contract.run_artifacts import EVALUATION_FILE, MASK_FILE, TASKS_FILE, study_file
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import SINGLE_RUNS, Fact, Role
from nmlab.trials.contract.sections import EvaluationSpec, NeutralSpec
from nmlab.trials.contract.trial_spec import by_name, flat_settings
from nmlab.trials.contract.values import JsonMapping, Scalar
from nmlab.trials.evaluation import EvaluationResult
from nmlab.trials.export.subject import Subject
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import save_bundle
from nmlab.trials.trial.artifacts import save_questions, save_windows
from nmlab.trials.trial.evaluations import Measured, MeasuredNeutral


@dataclass(frozen=True)
class ExternalModel:
    """The identity of an evaluated external model: its name in tables, weights and mask, and the evaluation."""

    label: str
    pattern: str
    model: JsonMapping
    model_digest: str
    mask_digest: str
    place: str
    evaluation: EvaluationSpec
    neutral: tuple[NeutralSpec, ...] = ()
    seed: int = 0

    @property
    def method(self) -> str:
        return self.label

    @property
    def key(self) -> str:
        return self._digest(size=8)

    @property
    def configuration(self) -> str:
        return self._digest(size=4)

    def flat(self) -> dict[str, Scalar]:
        """Return every setting under a dotted name, as for trials."""
        own = {
            run_params.METHOD: self.label,
            run_params.PATTERN: self.pattern,
            run_params.SEED: self.seed,
            run_params.JUDGED_SOURCE: self.place,
        }
        data = {"evaluation": self.evaluation.model_dump(), "neutral": by_name(self.neutral)}
        return flat_settings({**own, "model": self.model, "data": data})

    def _digest(self, *, size: int) -> str:
        body = {**vars(self), "model": dict(self.model), "evaluation": self.evaluation.model_dump(mode="json")}
        neutral = body.pop("neutral")  # which earlier versions did not know
        body |= {"neutral": by_name(neutral)} if neutral else {}
        return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=size).hexdigest()


@dataclass(frozen=True)
class Table:
    """The table that shows an external model: the experiment, and the launch whose table it joins, if any."""

    experiment: str = SINGLE_RUNS
    launch: str | None = None
    study: Study | None = None


def table_of(study: str, *, tracking_uri: str) -> Table:
    """Return the table of a study's newest launch, or of a launch; raises ``ValueError`` if there is none."""
    name, launch = launch_in_store(study, tracking_uri=tracking_uri)
    store = open_store(tracking_uri)
    parent = newest_or_named(store.launches(store.experiment_id(name)), name=launch, study=name)
    name_of_file = study_file(int(parent.data.tags.get(run_tags.STUDY_VERSIONS, "1")))
    content = store.artifact(parent.info.run_id, name=name_of_file)
    launched = parent.data.tags.get(run_tags.LAUNCH, parent.info.run_id)
    if content is None:
        raise ValueError(f"launch {launched} of {name} holds no {name_of_file}")
    return Table(name, launched, loader.loads(content.decode(), source=f"{name}/{name_of_file}", from_record=True))


def check_same_windows(table: Table, evaluated: EvaluationResult, *, tracking_uri: str) -> None:
    """Raise ``ValueError`` unless the table's runs were evaluated on windows with the same tokens and words.

    A model with another tokenizer splits the same text into other tokens; its perplexity would not compare.
    """
    if table.launch is None:
        return
    store = open_store(tracking_uri)
    experiment = store.experiment_id(table.experiment)
    parent = newest_or_named(store.launches(experiment), name=table.launch, study=table.experiment)
    found = (
        read_evaluation(store, run_id=run.info.run_id) for run in store.children(experiment, parent=parent.info.run_id)
    )
    kept, measured = next((each for each in found if each is not None), None), evaluated.perplexity
    if kept is None:
        return
    if not np.array_equal(kept.window_tokens_W, measured.tokens) or not np.array_equal(
        kept.window_words_W, measured.words
    ):
        raise ValueError(
            f"the runs of {table.launch} were evaluated on {kept.window_tokens_W.sum()} tokens and "
            f"{kept.window_words_W.sum()} words, this model on {measured.tokens.sum()} and {measured.words.sum()}; "
            "it is another model or reads the text differently"
        )


def identify(subject: Subject, *, label: str | None, evaluation: EvaluationSpec, study: Study | None) -> ExternalModel:
    """Return the identity of an external model; without ``label`` it is named by its method, or else `external`.

    In a study's table it stands for that study's model, pruned some other way; the place of its weights is recorded.
    """
    finished, found = subject.finished, subject.sparsity().pattern
    frozen = subject.model.frozen
    method = finished.info.method if finished else subject.spec.method if subject.spec else "external"
    return ExternalModel(
        label=label or method,
        pattern=finished.info.pattern if finished else str(found or "dense"),
        model=settings_of(frozen.source if study is None else study.model),
        place=frozen.source.source,
        model_digest=frozen.digest,
        mask_digest=masks_digest(finished.masks) if finished else "",
        evaluation=evaluation,
        neutral=() if study is None else study.data.neutral_texts,
    )


def record_external(
    identity: ExternalModel, *, subject: Subject, evaluated: EvaluationResult, table: Table, tracking_uri: str
) -> str:
    """Write a finished child run with the metrics and artifacts of a trial, once; return its run id.

    Raises ``ValueError`` as ``check_same_windows`` does.
    """
    check_same_windows(table, evaluated, tracking_uri=tracking_uri)
    store = MlflowStore(table.experiment, launch=table.launch or identity.key, uri=tracking_uri)
    coverage = subject.model.frozen.coverage.sentence()
    tags = {**provenance(), run_tags.JUDGED: run_tags.TRUE, run_tags.COVERAGE: coverage}
    store.begin_trial(identity, role=Role.BASELINE, tags=tags)
    store.log_points(identity.key, [{"step": 0, "time": int(time.time() * 1000), "values": dict(evaluated.metrics)}])
    with tempfile.TemporaryDirectory(prefix="nmlab-") as folder:
        result: ResultRecord = {
            "key": identity.key,
            "status": TrialStatus.FINISHED,
            "step": 0,
            "metrics": {},
            "reason": "",
            "artifacts": _write(Path(folder), subject, evaluated),
            "model_digest": identity.model_digest,
            "facts": {Fact.TASKS: evaluated.tasks.facts_line()} if evaluated.tasks else {},
            "notes": (f"evaluated here, made elsewhere: {identity.place}",),
        }
        store.end_trial(result, folder=Path(folder))
    return store.run_of(identity.key)


def record_tasks(run_id: str, *, evaluated: EvaluationResult, tracking_uri: str) -> None:
    """Add the tasks to the run that the mask came from; raises ``ValueError`` if it has others already."""
    store: RunStore = open_store(tracking_uri)
    assert evaluated.tasks is not None
    tasks = evaluated.tasks
    with reading(tracking_uri):
        data = store.client.get_run(run_id).data
        step = max((point.step for point in store.client.get_metric_history(run_id, "eval/perplexity")), default=0)
    if (held := data.tags.get(run_tags.TASKS)) is not None:
        if held == tasks.facts_line():
            return
        raise ValueError(f"run {run_id} holds other tasks already: {held}")
    with tempfile.TemporaryDirectory(prefix="nmlab-") as folder, reading(tracking_uri):
        save_questions(Path(folder) / TASKS_FILE, tasks)
        store.client.log_artifact(run_id, str(Path(folder) / TASKS_FILE))
        for name, value in tasks.metrics().items():
            store.client.log_metric(run_id, name, value, step=step)
        store.client.set_tag(run_id, run_tags.TASKS, tasks.facts_line())


def _measured(evaluated: EvaluationResult) -> Measured:
    neutral = {name: MeasuredNeutral(found) for name, found in evaluated.neutral.items()}
    return Measured(evaluated.perplexity, neutral=neutral)


def _write(folder: Path, subject: Subject, evaluated: EvaluationResult) -> tuple[str, ...]:
    save_windows(folder / EVALUATION_FILE, _measured(evaluated))
    written = [EVALUATION_FILE]
    if evaluated.tasks is not None:
        save_questions(folder / TASKS_FILE, evaluated.tasks)
        written.append(TASKS_FILE)
    if (
        subject.finished is not None and subject.finished.weights is None
    ):  # with new weights, the mask alone would be another model
        save_bundle(folder / MASK_FILE, subject.finished.masks, info=subject.finished.info)
        written.append(MASK_FILE)
    return tuple(written)
