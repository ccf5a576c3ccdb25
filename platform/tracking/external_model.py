"""A model that was judged here, wherever it was made: how it enters the tracking store, and so the same tables."""

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nmlab.platform.tracking import MlflowStore
from nmlab.platform.tracking.provenance import provenance
from nmlab.reports.read.evaluations import read_evaluation
from nmlab.reports.read.store import RunStore, newest_or_named, open_store, reading
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.run_artifacts import EVALUATION_FILE, MASK_FILE, STUDY_FILE, TASKS_FILE
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import SINGLE_RUNS, Fact, Role
from nmlab.trials.contract.sections import EvaluationSpec
from nmlab.trials.contract.trial_spec import flat_settings
from nmlab.trials.evaluation import Evaluated
from nmlab.trials.export.subject import Subject
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import save_bundle
from nmlab.trials.models.sources import settings_of
from nmlab.trials.trial.artifacts import save_questions, save_windows


@dataclass(frozen=True)
class Judged:
    """What identifies such a model: the name it bears in tables, its weights and mask, and what it was judged on."""

    label: str
    pattern: str
    model: Mapping[str, Any]
    model_digest: str
    mask_digest: str
    place: str
    evaluation: EvaluationSpec
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

    def flat(self) -> dict[str, Any]:
        """Return every setting under a dotted name, as trials have them."""
        own = {
            run_params.METHOD: self.label,
            run_params.PATTERN: self.pattern,
            run_params.SEED: self.seed,
            run_params.JUDGED_SOURCE: self.place,
        }
        return flat_settings({**own, "model": self.model, "data": {"evaluation": self.evaluation.model_dump()}})

    def _digest(self, *, size: int) -> str:
        body = {**vars(self), "model": dict(self.model), "evaluation": self.evaluation.model_dump(mode="json")}
        return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=size).hexdigest()


@dataclass(frozen=True)
class Table:
    """Where a judged model is recorded: the experiment, and the launch whose table it joins, if any."""

    experiment: str = SINGLE_RUNS
    launch: str | None = None
    study: Study | None = None


def table_of(study: str, *, tracking_uri: str) -> Table:
    """Return the table of a study's newest launch, or of STUDY/LAUNCH; raises ``ValueError`` where there is none."""
    name, _, launch = study.partition("/")
    store = open_store(tracking_uri)
    parent = newest_or_named(store.launches(store.experiment_id(name)), name=launch or None, study=name)
    content = store.artifact(parent.info.run_id, name=STUDY_FILE)
    launched = parent.data.tags.get(run_tags.LAUNCH, parent.info.run_id)
    if content is None:
        raise ValueError(f"launch {launched} of {name} holds no {STUDY_FILE}")
    return Table(name, launched, loader.loads(content.decode(), source=f"{name}/{STUDY_FILE}"))


def check_same_windows(table: Table, evaluated: Evaluated, *, tracking_uri: str) -> None:
    """Raise ``ValueError`` unless the table's runs were judged on the same windows, as far as tokens and words tell.

    A model with another tokenizer reads the same text as other tokens; its perplexity would not compare.
    """
    if table.launch is None:
        return
    store = open_store(tracking_uri)
    experiment = store.experiment_id(table.experiment)
    parent = newest_or_named(store.launches(experiment), name=table.launch, study=table.experiment)
    found = (
        read_evaluation(store, run_id=run.info.run_id) for run in store.children(experiment, parent=parent.info.run_id)
    )
    kept, ours = next((each for each in found if each is not None), None), evaluated.perplexity
    if kept is None:
        return
    if not np.array_equal(kept.window_tokens_W, ours.tokens) or not np.array_equal(kept.window_words_W, ours.words):
        raise ValueError(
            f"the runs of {table.launch} were judged on {kept.window_tokens_W.sum()} tokens and "
            f"{kept.window_words_W.sum()} words, this model on {ours.tokens.sum()} and {ours.words.sum()}; "
            "it is another model or reads the text differently"
        )


def judge_as(subject: Subject, *, label: str | None, evaluation: EvaluationSpec, study: Study | None) -> Judged:
    """Return the identity of a judged model; its label is that of its method, or else `external`.

    In a study's table it stands for that study's model, pruned some other way; where its weights lie is kept beside.
    """
    finished, found = subject.finished, subject.sparsity().pattern
    frozen = subject.model.frozen
    method = finished.info.method if finished else subject.spec.method if subject.spec else "external"
    return Judged(
        label=label or method,
        pattern=finished.info.pattern if finished else str(found or "dense"),
        model=settings_of(frozen.source if study is None else study.model),
        place=frozen.source.source,
        model_digest=frozen.digest,
        mask_digest=masks_digest(finished.masks) if finished else "",
        evaluation=evaluation,
    )


def record_judged(judged: Judged, *, subject: Subject, evaluated: Evaluated, table: Table, tracking_uri: str) -> str:
    """Write a finished child run with a trial's metrics and artifacts, once; return its run id."""
    check_same_windows(table, evaluated, tracking_uri=tracking_uri)
    store = MlflowStore(table.experiment, launch=table.launch or judged.key, uri=tracking_uri)
    coverage = subject.model.frozen.coverage.sentence()
    tags = {**provenance(), run_tags.JUDGED: run_tags.TRUE, run_tags.COVERAGE: coverage}
    store.begin_trial(judged, role=Role.BASELINE, tags=tags)
    store.log_points(judged.key, [{"step": 0, "time": int(time.time() * 1000), "values": dict(evaluated.metrics)}])
    with tempfile.TemporaryDirectory(prefix="nmlab-") as folder:
        result = {
            "key": judged.key,
            "status": TrialStatus.FINISHED,
            "reason": "",
            "artifacts": _write(Path(folder), subject, evaluated),
            "model_digest": judged.model_digest,
            "facts": {Fact.TASKS: evaluated.tasks.facts_line()} if evaluated.tasks else {},
            "notes": (f"judged here, made elsewhere: {judged.place}",),
        }
        store.end_trial(result, folder=Path(folder))
    return store.run_of(judged.key)


def record_tasks(run_id: str, *, evaluated: Evaluated, tracking_uri: str) -> None:
    """Add the tasks to the run that the mask came from; raises ``ValueError`` where it has other answers already."""
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


def _write(folder: Path, subject: Subject, evaluated: Evaluated) -> tuple[str, ...]:
    save_windows(folder / EVALUATION_FILE, evaluated.perplexity, None)
    written = [EVALUATION_FILE]
    if evaluated.tasks is not None:
        save_questions(folder / TASKS_FILE, evaluated.tasks)
        written.append(TASKS_FILE)
    if subject.finished is not None and subject.finished.weights is None:  # a mask alone would be another model
        save_bundle(folder / MASK_FILE, subject.finished.masks, info=subject.finished.info)
        written.append(MASK_FILE)
    return tuple(written)
