"""The names under which runs are recorded: those of earlier versions, which no renaming may change."""

import json
from enum import StrEnum
from pathlib import PurePath
from types import ModuleType
from typing import get_args

import pytest

from nmlab.trials.contract import run_artifacts, run_params, run_status, run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialEnd, TrialStatus

# Written out here a second time on purpose: runs, journals and artifacts that exist bear these very strings.
TAGS = {
    "SINGLE_RUNS": "runs",
    "KIND": "nmlab.kind",
    "LAUNCH": "nmlab.launch",
    "STATUS": "nmlab.status",
    "GIT_COMMIT": "nmlab.git_commit",
    "GIT_DIRTY": "nmlab.git_dirty",
    "VERSIONS": "nmlab.versions",
    "HARDWARE": "nmlab.hardware",
    "DATA_DIGEST": "nmlab.data_digest",
    "NEUTRAL_DIGESTS": "nmlab.neutral_digests",
    "COVERAGE": "nmlab.coverage",
    "STORED": "nmlab.stored",
    "MODEL_DIGEST": "nmlab.model_digest",
    "CONFIRMATION_SEEDS": "nmlab.confirmation_seeds",
    "PLANNED": "nmlab.planned",
    "STUDY_VERSIONS": "nmlab.study_versions",
    "WARM_START": "nmlab.warm_start",
    "SEARCH_STOPPED": "nmlab.search_stopped",
    "EXTENSION": "nmlab.extension.",
    "CHANGED_PARAM": "nmlab.param.",
    "REMOVED_PARAM": "(removed)",
    "REPRODUCES": "nmlab.reproduces",
    "FROZEN_WEIGHTS": "nmlab.frozen_weights",
    "MODEL_LOADS": "nmlab.model_loads",
    "TRIAL_KEY": "nmlab.trial_key",
    "CONFIGURATION": "nmlab.configuration",
    "CONFIGURATION_NAME": "nmlab.configuration_name",
    "ROLE": "nmlab.role",
    "STATUS_REASON": "nmlab.status_reason",
    "RESUMABLE": "nmlab.resumable",
    "MISSING_ARTIFACTS": "nmlab.missing_artifacts",
    "JUDGED": "nmlab.judged",
    "COST": "nmlab.cost",
    "TASKS": "nmlab.tasks",
    "CONFIRMATION": "nmlab.confirmation",
    "TRAIN_LOSS": "nmlab.train_loss",
    "DEPENDS_ON_SEED": "nmlab.depends_on_seed",
    "INITIAL_MASK_DIGEST": "nmlab.initial_mask_digest",
    "NOTES": "nmlab.notes",
    "STUDY": "nmlab.study",
    "PARENT_RUN": "mlflow.parentRunId",
    "RUN_NAME": "mlflow.runName",
    "SOURCE_NAME": "mlflow.source.name",
    "USER": "mlflow.user",
    "NOTE": "mlflow.note.content",
    "TRUE": "true",
    "FALSE": "false",
    "UNKNOWN": "unknown",
}
ARTIFACTS = {
    "RECORD_FILE": "trial.json",
    "MASK_FILE": "mask.safetensors",
    "WEIGHTS_FILE": "weights.safetensors",
    "EVALUATION_FILE": "evaluation.npz",
    "TASKS_FILE": "tasks.npz",
    "STEPS_FILE": "steps.npz",
    "MASK_LOSSES_FILE": "mask_losses.npz",
    "LINE_SEARCH_FILE": "line_search.npz",
    "CHECKPOINT_FILES": "checkpoint-*.safetensors",
    "STUDY_FILE": "study.yaml",
    "ENVIRONMENT_FILE": "environment.json",
    "LOG_FILE": "log.jsonl",
    "REPORT_FOLDER": "report",
    "WINDOW_LOSS_SUM": "window_loss_sum",
    "WINDOW_TOKENS": "window_tokens",
    "WINDOW_WORDS": "window_words",
    "INITIAL_WINDOW_LOSS_SUM": "initial_window_loss_sum",
    "VALIDATION_LOSS_SUM": "validation_loss_sum",
    "VALIDATION_TOKENS": "validation_tokens",
    "VALIDATION_WORDS": "validation_words",
    "INITIAL_VALIDATION_LOSS_SUM": "initial_validation_loss_sum",
    "NEUTRAL_WINDOWS": "neutral/",
    "QUESTION": "question",
    "LOG_LIKELIHOODS": "log_likelihoods",
    "MASK_LOSSES": "loss_KB",
    "INITIAL_LOSSES": "initial_loss_B",
    "DENSE_LOSSES": "dense_loss_B",
    "STEP_SIZES": "kappa_S",
    "LINE_SEARCH_LOSSES": "loss_S",
    "HEADER_FORMAT": "format",
    "HEADER_INFO": "info",
    "HEADER_SHAPES": "shapes",
    "HEADER_DIGESTS": "digests",
    "HEADER_ORIGIN": "origin",
    "MASK_FORMAT": "nmlab-mask/1",
    "WEIGHTS_FORMAT": "nmlab-weights/1",
}
PARAMS = {
    "METHOD": "method",
    "PATTERN": "pattern",
    "SEED": "seed",
    "INITIAL_MASK": "initial_mask",
    "MODEL_SOURCE": "model.source",
    "MODEL_DTYPE": "model.dtype",
    "CALIBRATION_SAMPLES": "data.calibration.samples",
    "EVALUATION_SOURCE": "data.evaluation.source",
    "CALIBRATION_DIGEST": "calibration_digest",
    "JUDGED_SOURCE": "judged.source",
    "MODEL": "model.",
    "DATA": "data.",
    "CALIBRATION": "data.calibration.",
    "EVALUATION": "data.evaluation.",
    "VALIDATION": "data.validation.",
    "NEUTRAL": "data.neutral.",
    "SEARCH": "search.",
    "SPACE": "space.",
    "TITLE": "title",
    "ANSWERS": "answers",
    "SEARCH_METRIC": "search.metric",
    "SEARCH_MODE": "search.mode",
    "SEARCH_CONSTRAINTS": "search.constraints.",
}
STATUSES = {"STOPPED_EARLY": "stopped early", "MLFLOW_RUNNING": "RUNNING"}
VALUES = {
    "RunKind": ["study", "trial", "initial_mask"],
    "Role": ["search", "baseline"],
    "FrozenWeights": ["verified", "mismatch", "unverified"],
    "KnownCost": ["unknown", "in part"],
    "Fact": ["cost", "tasks", "depends_on_seed", "train_loss"],
    "TrialStatus": ["waiting", "running", "finished", "diverged", "oom", "failed", "stopped", "pruned", "duplicate"],
    "LaunchStatus": ["starting", "running", "stopping", "finished", "stopped", "failed", "killed"],
}


@pytest.mark.parametrize(
    ("module", "kept"),
    [(run_tags, TAGS), (run_artifacts, ARTIFACTS), (run_params, PARAMS), (run_status, STATUSES)],
    ids=["tags", "artifacts", "params", "statuses"],
)
def test_every_recorded_name_is_kept(module: ModuleType, kept: dict[str, str]):
    assert {name: value for name, value in vars(module).items() if name.isupper() and type(value) is str} == {
        **kept,
        **({"_PREFIX": "nmlab."} if module is run_tags else {}),
    }


def test_every_recorded_value_is_kept():
    kinds = [kind for module in (run_tags, run_status) for kind in vars(module).values()]
    found = {kind.__name__: kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum)}
    found.pop("StrEnum")
    assert {name: [str(value) for value in kind] for name, kind in found.items()} == VALUES


def test_groups_of_names_are_kept():
    assert run_artifacts.WINDOW_ARRAYS == ("window_loss_sum", "window_tokens", "window_words")
    assert run_artifacts.MASK_LOSS_ARRAYS == ("loss_KB", "initial_loss_B", "dense_loss_B")
    assert run_artifacts.LINE_SEARCH_ARRAYS == ("kappa_S", "loss_S")
    assert run_artifacts.NOT_MEASURES == ("question", "log_likelihoods")
    assert run_params.IDENTITY == ("method", "pattern", "seed")
    assert run_status.ENDED_FOR_GOOD == ("finished", "diverged", "oom", "stopped")
    assert run_status.UNFINISHED == ("running", "stopped", "pruned")
    assert run_status.WITH_ERROR == ("failed", "oom")
    assert run_artifacts.task_array("quiz", "acc") == "quiz/acc"
    assert run_artifacts.step_array("train/loss") == "train_loss"


def test_checkpoints_are_named_by_their_step():
    assert run_artifacts.checkpoint_file(24) == "checkpoint-000000024.safetensors"
    assert PurePath(run_artifacts.checkpoint_file(24)).match(run_artifacts.CHECKPOINT_FILES)
    assert run_artifacts.checkpoint_step(run_artifacts.checkpoint_file(24)) == 24
    others = ("checkpoint-000000024.damaged", "checkpoint-last.safetensors", "mask.safetensors")
    assert [run_artifacts.checkpoint_step(name) for name in others] == [None] * 3


def test_statuses_are_written_as_text():
    """Journals, snapshots and tables hold the same bytes as when statuses were plain text."""
    record = {"status": TrialStatus.FINISHED, "counts": {TrialStatus.OOM: 2}, "phase": LaunchStatus.RUNNING}
    assert json.dumps(record) == '{"status": "finished", "counts": {"oom": 2}, "phase": "running"}'
    assert json.loads(json.dumps(record, indent=1)) == json.loads(json.dumps(record))  # another encoder in Python
    assert f"{TrialStatus.STOPPED}" == "stopped"
    assert type(str(TrialStatus.STOPPED)) is str
    assert {"finished": 3}[TrialStatus.FINISHED] == 3


def test_every_end_of_a_trial_and_of_a_launch_has_a_status_in_mlflow():
    launches = (LaunchStatus.FINISHED, LaunchStatus.STOPPED, LaunchStatus.FAILED)
    assert {*run_status.MLFLOW_STATUS} == {*get_args(TrialEnd)}
    assert [run_status.MLFLOW_STATUS[end] for end in launches] == ["FINISHED", "KILLED", "FAILED"]
    assert run_status.MLFLOW_STATUS == {
        "finished": "FINISHED",
        "diverged": "FAILED",
        "oom": "FAILED",
        "failed": "FAILED",
        "stopped": "KILLED",
    }
    assert run_status.FROM_MLFLOW == {"FINISHED": "finished", "FAILED": "failed", "KILLED": "stopped"}


def test_each_fact_of_a_trial_has_a_tag():
    tags = {run_tags.Fact.COST: "nmlab.cost", run_tags.Fact.TASKS: "nmlab.tasks"}
    tags[run_tags.Fact.DEPENDS_ON_SEED] = "nmlab.depends_on_seed"
    tags[run_tags.Fact.TRAIN_LOSS] = "nmlab.train_loss"
    assert {fact: run_tags.fact_tag(fact) for fact in run_tags.Fact} == tags
    assert run_tags.fact_tag("of a later version") == "nmlab.of a later version"


@pytest.mark.parametrize(
    ("comparison", "text"),
    [("=", "tags.`nmlab.kind` = 'study'"), ("!=", "tags.`nmlab.kind` != 'study'")],
)
def test_conditions_name_tag_and_value(comparison, text):
    assert run_tags.condition(run_tags.KIND, run_tags.RunKind.LAUNCH, comparison=comparison) == text


def test_flags_are_written_in_small_letters():
    assert (run_tags.flag(True), run_tags.flag(False)) == ("true", "false")
