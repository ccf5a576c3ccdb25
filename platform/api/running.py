"""Run one configuration in this process, without Ray."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nmlab.platform.api.places import results_folder, store_uri
from nmlab.platform.api.results import Trial
from nmlab.platform.api.trial_specification import TrialTexts, specification
from nmlab.platform.process.interruption import Interruption, RunInterrupted
from nmlab.trials.contract.values import Hyperparameters

if TYPE_CHECKING:
    from nmlab.trials.contract.trial_spec import TrialSpec
    from nmlab.trials.trial.outcome import TrialResult

__all__ = ["Ran", "RunInterrupted", "run", "run_spec"]

Watch: TypeAlias = Callable[[int, Mapping[str, float]], None]
"""Called with the step and the values of every point of a trial."""


@dataclass(frozen=True)
class Ran:
    """A trial that was run here.

    ``coverage`` says how much of the model a mask covers. ``saved`` is the line for a trial that a signal stopped.
    """

    spec: "TrialSpec"
    result: "TrialResult"
    folder: Path
    coverage: str
    saved: str = ""


def run(
    method: str,
    hyperparameters: Hyperparameters | None = None,
    *,
    model: str | Path = "builtin:tiny",
    revision: str | None = None,
    dtype: str = "float32",
    leave_dense: Sequence[str] = (),
    data: str | Path = "builtin:python-docs",
    evaluation: str | Path | None = None,
    split: str | None = None,
    evaluation_split: str | None = None,
    column: str | None = None,
    pattern: str = "2:4",
    seed: int = 0,
    samples: int = 128,
    sequence_length: int = 128,
    batch_size: int = 32,
    windowing: str | None = None,
    windows: int | None = None,
    tasks: str | Sequence[str] | None = None,
    few_shot: int | None = None,
    questions: int | None = None,
    results: str | Path | None = None,
    tracking_uri: str | None = None,
    progress: bool = True,
) -> Trial:
    """Run one configuration in this process, without a cluster, and record it in MLflow (experiment ``runs``).

    The same arguments are the same trial: one that was interrupted continues from its checkpoint.

    Args:
        method: a method; `methods` lists them.
        hyperparameters: those that differ from the method's defaults.
        model: ``builtin:tiny``, a Hugging Face folder, or a hub id.
        revision: branch, tag or commit of a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        leave_dense: weights of decoder blocks to leave without a mask: parts of their names, or patterns with ``*``.
        data: text to learn from: ``builtin:python-docs``, a file, a folder, JSONL, or a hub id of a data set.
        evaluation: held-out text; by default the last fifth of ``data``, and a part of its own for builtin texts.
        split: split of a Hugging Face data set to learn from.
        evaluation_split: split of a Hugging Face data set to evaluate on.
        column: column that holds the text, of a data set or JSONL.
        pattern: N:M keeps N of every M weights.
        seed: seed of the trial.
        samples: calibration windows.
        sequence_length: tokens of a window.
        batch_size: windows of a minibatch.
        windowing: ``"joined"``, or ``"rolling"`` as in lm-eval.
        windows: windows of held-out text, at most.
        tasks: names of lm-eval tasks, or JSONL files.
        few_shot: worked examples before a question.
        questions: questions of each task, at most.
        results: the folder for results; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.
        progress: show a progress bar on a terminal.

    Returns:
        The trial; one that diverged is returned too, with its status and reason.

    Raises:
        ValueError: a method, hyperparameter, model or text that cannot be used; the text says why in one line.
        RunInterrupted: Ctrl-C; the text says what is kept.

    Example:
        >>> import nmlab
        >>> trial = nmlab.run("maskpro", {"steps": 4, "learning_rate": 2.0}, samples=8, windows=4, progress=False)
        >>> trial.status, trial.settings["steps"]
        ('finished', 4)
        >>> int(trial.history().index.max())
        4
    """
    from nmlab.platform.api.loading import ResultSource, recorded_trial
    from nmlab.platform.api.run_progress import RunProgress
    from nmlab.platform.tracking.address import absolute_uri

    spec = specification(
        method,
        hyperparameters,
        texts=TrialTexts(
            data=str(data),
            evaluation=None if evaluation is None else str(evaluation),
            split=split,
            evaluation_split=evaluation_split,
            column=column,
        ),
        model={"source": str(model), "revision": revision, "dtype": dtype, "leave_dense": tuple(leave_dense)},
        sizes={"samples": samples, "sequence_length": sequence_length, "batch_size": batch_size},
        measured={
            "tasks": tasks,
            "windowing": windowing,
            "windows": windows,
            "few_shot": few_shot,
            "questions": questions,
        },
        pattern=pattern,
        seed=seed,
    )
    folder, uri = results_folder(results), store_uri(tracking_uri)
    ran = run_spec(spec, results=folder, tracking_uri=uri, progress=RunProgress(shown=progress))
    if ran.saved:
        raise RunInterrupted(ran.saved)
    return recorded_trial(spec.key, ResultSource(absolute_uri(uri), folder.absolute()))


def run_spec(spec: "TrialSpec", *, results: Path, tracking_uri: str, progress: "AbstractContextManager[Watch]") -> Ran:
    """Check a trial against its model and texts, run it, and record it in MLflow.

    Raises ``ValueError`` with one line for what cannot be run, and ``RunInterrupted`` if a signal ends it between two
    steps. An error of the trial is recorded and raised.
    """
    from nmlab.platform.planning.checks import check_inputs, check_text
    from nmlab.platform.planning.study_trials import configured
    from nmlab.platform.tracking.address import absolute_uri, check_store
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.contract.run_status import TrialStatus
    from nmlab.trials.contract.run_tags import SINGLE_RUNS

    trial = configured(spec)
    check_text(trial)
    uri = absolute_uri(tracking_uri)

    # These load torch, which takes seconds; what was given is checked before.
    from nmlab.platform.run_one import make_folder, run_one
    from nmlab.trials.sizing.preflight import preflight

    patterns = [Pattern.parse(spec.pattern)]
    facts = preflight(spec.model, patterns=patterns, calibration=spec.calibration, evaluation=spec.evaluation)
    check_inputs(trial, facts)
    check_store(uri, study=SINGLE_RUNS)
    folder = make_folder(results, key=spec.key)
    with progress as watch, Interruption(folder, key=spec.key) as interruption:
        result = run_one(
            spec, facts=facts, folder=folder, tracking_uri=uri, watch=watch, stopping=interruption.is_asked
        )
    is_saved = interruption.is_asked() and result.status == TrialStatus.STOPPED
    saved = interruption.saved(result.step) if is_saved else ""
    return Ran(spec, result, folder, facts.coverage.sentence(), saved)
