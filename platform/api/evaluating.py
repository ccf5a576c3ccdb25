"""Evaluate the mask of a run, a mask bundle, or any checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.evaluation_record import EvaluationRecord, evaluation_record, evaluation_rows
from nmlab.platform.api.evaluation_settings import evaluation_spec, given_evaluation
from nmlab.platform.api.named_results import Target, target_name
from nmlab.platform.api.places import results_folder, store_uri
from nmlab.platform.api.rendering import html_facts
from nmlab.trials.contract.run_tags import SINGLE_RUNS

if TYPE_CHECKING:
    from nmlab.platform.tracking.external_model import Table
    from nmlab.trials.contract.sections import EvaluationSpec
    from nmlab.trials.evaluation import EvaluationResult
    from nmlab.trials.export.subject import Subject


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What was measured of a model.

    Attributes:
        metrics: by name, such as ``"eval/perplexity"`` and ``"eval/acc/TASK"``.
        pattern: the N:M pattern that its weights follow, found from their zeros; None if they follow none.
        density: the share of the prunable weights that are not zero.
        trial: the key of the trial that the mask came from, if any.
        run_id: the run in MLflow that holds the result, if it was recorded.
        has_mask: whether it is a model with a mask, which can be exported.
    """

    metrics: Mapping[str, float]
    pattern: str | None
    density: float
    trial: str | None
    run_id: str | None
    has_mask: bool
    _record: EvaluationRecord = field(repr=False)

    @property
    def perplexity(self) -> float:
        """The perplexity on the held-out text."""
        return self.metrics["eval/perplexity"]

    def record(self) -> EvaluationRecord:
        """Return everything as plain JSON, as ``nmlab evaluate --json`` prints it."""
        return self._record.copy()

    def rows(self) -> dict[str, str]:
        """Return what is shown: name -> text."""
        return dict(evaluation_rows(self._record))

    def __str__(self) -> str:
        rows = self.rows()
        width = max(map(len, rows))
        return "\n".join(f"{name:{width}}  {text}" for name, text in rows.items())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_facts("Evaluation", self.rows())


def evaluate(
    target: Target,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    column: str | None = None,
    windowing: str | None = None,
    sequence_length: int | None = None,
    windows: int | None = None,
    batch_size: int | None = None,
    tasks: str | Sequence[str] | None = None,
    few_shot: int | None = None,
    questions: int | None = None,
    model: str | Path | None = None,
    revision: str | None = None,
    dtype: str | None = None,
    leave_dense: Sequence[str] = (),
    record: bool = False,
    study: str | None = None,
    label: str | None = None,
    speed: bool = False,
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Evaluation:
    """Measure a model's N:M pattern, its perplexity, and its accuracy on tasks.

    Args:
        target: any id that nmlab prints (run, trial, configuration, launch) or its first characters, a trial's folder,
            a mask file (with its model), or a checkpoint; or a trial, configuration or launch as a value.
        data: held-out text, as in a study; by default the run's own.
        split: split of a Hugging Face data set.
        column: column that holds the text.
        windowing: ``"joined"``, or ``"rolling"`` as in lm-eval.
        sequence_length: tokens of a window.
        windows: windows of held-out text, at most.
        batch_size: windows, or answer options, evaluated at once.
        tasks: names of lm-eval tasks, or JSONL files.
        few_shot: worked examples before a question.
        questions: questions of each task, at most.
        model: base model of a mask; by default the model in its record.
        revision: revision of a Hugging Face hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``; by default as in the record.
        leave_dense: weights of decoder blocks to leave without a mask.
        record: record the result in MLflow.
        study: evaluate as this study (its newest launch), or launch, does, and join its table.
        label: name in tables for a model made elsewhere.
        speed: also measure tokens a second and count FLOPs.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        What was measured.

    Raises:
        ValueError: nothing, or several things, are called so, a file is damaged, or settings that do not fit.
        SourceError: a model or a text that cannot be reached or read.

    Example:
        >>> import nmlab
        >>> found = nmlab.evaluate("builtin:tiny", windows=4)
        >>> found.pattern is None, found.perplexity < 100
        (True, True)
    """
    from nmlab.platform.tracking.address import check_store
    from nmlab.platform.tracking.external_model import table_of
    from nmlab.platform.tracking.result_files import located_files
    from nmlab.trials.evaluation import evaluate as measure
    from nmlab.trials.evaluation.throughput import Workload
    from nmlab.trials.export.speed import measure_speed
    from nmlab.trials.export.subject import Base, open_subject
    from nmlab.trials.models.frozen import best_device

    uri, named = store_uri(tracking_uri), target_name(target)
    text = {"source": data if data is None else str(data), "split": split, "column": column}
    sizes = {"windowing": windowing, "windows": windows, "sequence_length": sequence_length, "batch_size": batch_size}
    given = given_evaluation(tasks=tasks, few_shot=few_shot, **text, **sizes, questions=questions)
    table = table_of(study, tracking_uri=uri) if study else None
    base = Base(None if model is None else str(model), revision, dtype, tuple(leave_dense))
    with located_files(named, tracking_uri=uri, results=results_folder(results)) as found:
        subject = open_subject(found.place, base=base, device=best_device())
        spec = _specification(given, subject=subject, table=table)
        _check_recordable(found.run_id, table, spec, record=record)
        if record:
            check_store(uri, study=table.experiment if table else SINGLE_RUNS)
        neutral = () if table is None or table.study is None else table.study.data.neutral_texts
        evaluated = measure(subject.model, spec, neutral=neutral)
        run_id = (
            _keep(found.run_id, subject, evaluated, spec=spec, table=table, label=label, uri=uri) if record else None
        )
        use = measure_speed(subject, Workload(batch=spec.batch_size, prompt=spec.sequence_length)) if speed else None
    kept = evaluation_record(
        named, subject, evaluated, spec=spec, run_id=run_id, use=use, trial=found.key, taken=found.how_chosen
    )
    sparsity = subject.sparsity()
    return Evaluation(
        metrics=dict(evaluated.metrics),
        pattern=None if sparsity.pattern is None else str(sparsity.pattern),
        density=sparsity.density,
        trial=found.key,
        run_id=run_id,
        has_mask=subject.finished is not None,
        _record=kept,
    )


def _specification(given: Mapping[str, object], *, subject: "Subject", table: "Table | None") -> "EvaluationSpec":
    """Return what to measure on: the study's text and tasks, else the run's own, with the given settings changed."""
    from nmlab.trials.contract.sections import EvaluationSpec

    if table is not None and table.study is not None:
        if given:
            name = next(iter(given)).replace("source", "data").replace("_", "-")
            raise ValueError(
                f"--study takes text and tasks from {table.experiment}, so that results compare; drop --{name}"
            )
        return table.study.data.evaluation
    default = EvaluationSpec(source="builtin:python-docs")
    own = subject.spec.evaluation if subject.spec else default
    if "source" in given:  # split and column belong to the source
        own = own.model_copy(update={"split": None, "column": None})
    checked = evaluation_spec({**default.model_dump(), **given})  # an older version may have kept what is refused today
    return own.model_copy(update={name: getattr(checked, name) for name in given})


def _check_recordable(run_id: str | None, table: "Table | None", spec: "EvaluationSpec", *, record: bool) -> None:
    """Raise ``ValueError``, before anything is measured, where the result could not be recorded afterwards."""
    if record and run_id is not None and table is None and not spec.tasks:
        raise ValueError(f"--record: run {run_id} already has its perplexity; give --tasks, or a --study to join")


def _keep(
    run_id: str | None,
    subject: "Subject",
    evaluated: "EvaluationResult",
    *,
    spec: "EvaluationSpec",
    table: "Table | None",
    label: str | None,
    uri: str,
) -> str:
    """Record tasks in the run that the mask came from; any other model gets a run of its own. Return the run id."""
    from nmlab.platform.tracking.address import absolute_uri
    from nmlab.platform.tracking.external_model import Table, identify, record_external, record_tasks

    if run_id is not None and table is None:
        record_tasks(run_id, evaluated=evaluated, tracking_uri=uri)
        return run_id
    place = absolute_uri(uri)
    table = table or Table()
    identity = identify(subject, label=label, evaluation=spec, study=table.study)
    return record_external(identity, subject=subject, evaluated=evaluated, table=table, tracking_uri=place)
