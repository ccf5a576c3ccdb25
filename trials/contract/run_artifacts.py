"""The files that runs leave and the arrays in them, as trials write them and reports read them.

The names are kept: artifacts in MLflow and folders of earlier versions bear them.
Legend: W windows of the evaluation text, W' of the validation text and W" of a neutral text, Q questions of a task,
C choices of a question, K masks, B minibatches, S step sizes.
"""

import re
from typing import Final

# Of a trial: artifacts of its run, and files of its folder.
RECORD_FILE: Final = "trial.json"
"""What was run and how it came out: key, specification, metrics, notes. It is written last, so it marks the end."""
MASK_FILE: Final = "mask.safetensors"
"""The mask bundle: a bit a weight, packed, and JSON in the header. An initial mask's run has it too."""
WEIGHTS_FILE: Final = "weights.safetensors"
"""New weights beneath the mask, of a method that changes them."""
EVALUATION_FILE: Final = "evaluation.npz"
"""Loss sums, tokens and words of every window, for paired comparisons: ``WINDOW_ARRAYS``."""
TASKS_FILE: Final = "tasks.npz"
"""The outcome of every question of every task: arrays ``task_array(task, ...)``."""
STEPS_FILE: Final = "steps.npz"
"""Every step's values of each curve: arrays ``step_array(metric)``."""
MASK_LOSSES_FILE: Final = "mask_losses.npz"
"""Losses of masks that a method drew from its final logits: ``MASK_LOSS_ARRAYS``."""
LINE_SEARCH_FILE: Final = "line_search.npz"
"""Step sizes that a line search tried, and the loss after each: ``LINE_SEARCH_ARRAYS``."""

# Of a trial: files of its folder alone.
CHECKPOINT_FILES: Final = "checkpoint-*.safetensors"
"""Checkpoints, as a pattern of names (``checkpoint_file``); of a model in stages each stage has a folder of them."""

# Of a launch: artifacts of its run, and files of its folder.
STUDY_FILE: Final = "study.yaml"
"""The study with everything resolved, as the launch began; ``study_file`` names later versions."""
ENVIRONMENT_FILE: Final = "environment.json"
"""Every installed distribution with its version."""
LOG_FILE: Final = "log.jsonl"
"""The journal without metrics, a JSON object a line."""
REPORT_FOLDER: Final = "report"
"""The report that was written at the end."""

# Arrays of EVALUATION_FILE.
WINDOW_LOSS_SUM: Final = "window_loss_sum"
"""[W] sum of the losses of a window's tokens in nats, float64."""
WINDOW_TOKENS: Final = "window_tokens"
"""[W] tokens that were predicted in a window, int64."""
WINDOW_WORDS: Final = "window_words"
"""[W] words that these tokens make up, int64."""
INITIAL_WINDOW_LOSS_SUM: Final = "initial_window_loss_sum"
"""[W] the same sums with the mask that learning started from; absent where nothing was learned, or on validation."""
VALIDATION_LOSS_SUM: Final = "validation_loss_sum"
"""[W'] as ``WINDOW_LOSS_SUM``, of the windows of the validation text; absent where a study has none."""
VALIDATION_TOKENS: Final = "validation_tokens"
"""[W'] as ``WINDOW_TOKENS``."""
VALIDATION_WORDS: Final = "validation_words"
"""[W'] as ``WINDOW_WORDS``."""
INITIAL_VALIDATION_LOSS_SUM: Final = "initial_validation_loss_sum"
"""[W'] the loss sums of the mask that learning started from, on the validation text."""
WINDOW_ARRAYS: Final = (WINDOW_LOSS_SUM, WINDOW_TOKENS, WINDOW_WORDS)
"""The arrays that every such file has."""
VALIDATION_ARRAYS: Final = (VALIDATION_LOSS_SUM, VALIDATION_TOKENS, VALIDATION_WORDS)
"""The arrays that it has as well where the study has validation text."""
NEUTRAL_WINDOWS: Final = "neutral/"
"""How the arrays of neutral texts begin; see ``neutral_array``."""

# Arrays of TASKS_FILE, behind the task's name and a slash.
QUESTION: Final = "question"
"""[Q] the harness's hash of each question, text; paired tests join on it."""
LOG_LIKELIHOODS: Final = "log_likelihoods"
"""[Q, C] of each answer in nats; NaN where a question has fewer choices, [Q, 0] where a task has none."""
NOT_MEASURES: Final = (QUESTION, LOG_LIKELIHOODS)
"""What stands beside the outcomes; every other array is a measure, such as ``acc``, with its outcome [Q]."""

# Arrays of MASK_LOSSES_FILE.
MASK_LOSSES: Final = "loss_KB"
"""[K, B] loss of each mask on each minibatch, nats a token."""
INITIAL_LOSSES: Final = "initial_loss_B"
"""[B] loss of the initial mask."""
DENSE_LOSSES: Final = "dense_loss_B"
"""[B] loss of the dense model."""
MASK_LOSS_ARRAYS: Final = (MASK_LOSSES, INITIAL_LOSSES, DENSE_LOSSES)
"""The arrays that every such file has."""

# Arrays of LINE_SEARCH_FILE.
STEP_SIZES: Final = "kappa_S"
"""[S] step sizes in ascending order, the first 0: no step."""
LINE_SEARCH_LOSSES: Final = "loss_S"
"""[S] mean loss after each step, nats a token; NaN or infinite where it was."""
LINE_SEARCH_ARRAYS: Final = (STEP_SIZES, LINE_SEARCH_LOSSES)
"""The arrays that every such file has."""

# Headers of safetensors files.
HEADER_FORMAT: Final = "format"
"""What the file is: ``MASK_FORMAT`` or ``WEIGHTS_FORMAT``."""
HEADER_INFO: Final = "info"
"""JSON object: what the mask belongs to: ``model_source``, ``model_digest``, ``pattern``, ``method``, ``trial_key``."""
HEADER_SHAPES: Final = "shapes"
"""JSON object of a mask bundle: [out, in] by layer; the layer's tensor is its bits, packed, uint8."""
HEADER_DIGESTS: Final = "digests"
"""JSON object: the digest of each tensor by name."""
HEADER_ORIGIN: Final = "origin"
"""JSON object of a mask bundle: what its writer added."""
MASK_FORMAT: Final = "nmlab-mask/1"
WEIGHTS_FORMAT: Final = "nmlab-weights/1"


def study_file(version: int) -> str:
    """Return the name of a version of a launch's study, counted from 1: `nmlab extend` adds one each time."""
    stem, _, suffix = STUDY_FILE.partition(".")
    return STUDY_FILE if version == 1 else f"{stem}-{version}.{suffix}"


def checkpoint_file(step: int) -> str:
    """Return the name of the checkpoint after ``step`` steps; names sort as their steps do."""
    return f"checkpoint-{step:09d}.safetensors"


def checkpoint_step(name: str) -> int | None:
    """Return the step of a checkpoint by the name of its file; None for a file that is none."""
    found = re.fullmatch(r"checkpoint-(\d+)\.safetensors", name)
    return None if found is None else int(found[1])


def task_array(task: str, name: str) -> str:
    """Return the name of an array of a task: its questions, its log-likelihoods, or the outcomes of a measure."""
    return f"{task}/{name}"


def neutral_array(text: str, name: str) -> str:
    """Return the name of an array [W"] of a neutral text, such as ``neutral/news/window_loss_sum``.

    ``name`` is one of ``WINDOW_ARRAYS``, or ``INITIAL_WINDOW_LOSS_SUM`` where the mask at the start was measured.
    """
    return f"{NEUTRAL_WINDOWS}{text}/{name}"


def step_array(metric: str) -> str:
    """Return the name of the array of a curve, such as ``train_loss`` for ``train/loss``."""
    return metric.replace("/", "_")
