"""The MLflow tags of nmlab's runs, each defined here and nowhere else: `platform` writes them, reports read them.

A study is an experiment. A launch is a parent run in it; beneath it are the runs of its trials and of the initial masks
that trials start from, told apart by the tag ``KIND``. A model that was made elsewhere and evaluated here is a run of
kind trial with the tag ``JUDGED``; a single run (``nmlab run``) has no parent.

The names are kept: runs of earlier versions bear them. A tag of text is at most 5,000 characters long.
"""

from enum import StrEnum
from typing import Final, Literal

_PREFIX = "nmlab."

SINGLE_RUNS: Final = "runs"
"""The experiment of what belongs to no study: `nmlab run`, and models from elsewhere that are evaluated alone."""


class RunKind(StrEnum):
    """What a run stands for, the value of ``KIND``."""

    LAUNCH = "study"
    """A launch of a study, the parent of all others."""
    TRIAL = "trial"
    """One configuration with one seed, or a model from elsewhere (see ``JUDGED``)."""
    INITIAL_MASK = "initial_mask"
    """A mask that trials start from, computed once; it is none of the planned trials."""


class Role(StrEnum):
    """Why a trial was run, the value of ``ROLE``."""

    SEARCH = "search"
    """A point of the search space."""
    BASELINE = "baseline"
    """Run besides the search for comparison; so is every model from elsewhere."""


class FrozenWeights(StrEnum):
    """Whether the model's weights were the same bytes after a launch as before, the value of ``FROZEN_WEIGHTS``."""

    VERIFIED = "verified"
    """Every replica that looked found them unchanged."""
    MISMATCH = "mismatch"
    """A replica found them changed."""
    UNVERIFIED = "unverified"
    """No replica lived to look."""


class KnownCost(StrEnum):
    """What is known of the cost of a trial whose replica was lost, the value of ``COST``; without the tag all is."""

    UNKNOWN = "unknown"
    """Nothing: the trial was lost before its first checkpoint."""
    IN_PART = "in part"
    """What it had spent at its newest checkpoint."""


TRUE: Final = "true"
FALSE: Final = "false"
UNKNOWN: Final = "unknown"
"""Values of tags that answer yes or no; ``UNKNOWN`` where nobody could say."""


def flag(value: bool) -> str:
    """Return the value of a tag that answers yes or no."""
    return TRUE if value else FALSE


# Every run; a model from elsewhere has no DATA_DIGEST, NEUTRAL_DIGESTS or STORED.
KIND: Final = "nmlab.kind"
"""What the run stands for: a ``RunKind``."""
LAUNCH: Final = "nmlab.launch"
"""The name of the launch, also of one whose table a model from elsewhere joins; without a launch the trial key."""
STATUS: Final = "nmlab.status"
"""How the run ended, or that it has not: of a launch a ``LaunchStatus``, of any other a ``TrialStatus``."""
GIT_COMMIT: Final = "nmlab.git_commit"
"""The commit of the code, or ``UNKNOWN`` for an installed package."""
GIT_DIRTY: Final = "nmlab.git_dirty"
"""Whether the code had uncommitted changes: ``TRUE``, ``FALSE`` or ``UNKNOWN``."""
VERSIONS: Final = "nmlab.versions"
"""Versions of Python and of the packages that numbers depend on, a JSON object by name."""
HARDWARE: Final = "nmlab.hardware"
"""The machine, a JSON object; on a cluster that of the driver."""
DATA_DIGEST: Final = "nmlab.data_digest"
"""Digest of the texts for calibration, validation and evaluation."""
NEUTRAL_DIGESTS: Final = "nmlab.neutral_digests"
"""Digests of the neutral texts, a JSON object by name; without such texts a run has no such tag."""
COVERAGE: Final = "nmlab.coverage"
"""A sentence on which weights the mask covers and which it leaves dense."""
STORED: Final = "nmlab.stored"
"""A sentence on how the model's files store the weights, where that must be said."""
MODEL_DIGEST: Final = "nmlab.model_digest"
"""Digest of the dense weights; of a launch all that its replicas found, with commas between."""

# Launches.
CONFIRMATION_SEEDS: Final = "nmlab.confirmation_seeds"
"""Launch: the seeds of its confirmation, with commas between; absent without ``search.confirm``."""
PLANNED: Final = "nmlab.planned"
"""Launch: the number of planned trials."""
SEARCH_STOPPED: Final = "nmlab.search_stopped"
"""Launch: why its search stopped before it had tried everything, and what was not run; absent if it did not."""
STUDY_VERSIONS: Final = "nmlab.study_versions"
"""Launch: how many versions of its study it has; absent where it was never extended."""
EXTENSION: Final = "nmlab.extension."
"""Launch: with the number of a version of its study behind it (``extension_tag``), when and what that changed."""
CHANGED_PARAM: Final = "nmlab.param."
"""Launch: with the name of a parameter behind it, what an extension changed it to, as parameters keep their values."""
REMOVED_PARAM: Final = "(removed)"
"""The value of ``CHANGED_PARAM`` where the newest version of the study has no such setting."""
REPRODUCES: Final = "nmlab.reproduces"
"""Launch: the published items that the study reproduces (``maskpro/table-10``), with commas between."""
WARM_START: Final = "nmlab.warm_start"
"""Launch: the earlier launches that its search started from and what of each it uses, a line each, or absent."""
FROZEN_WEIGHTS: Final = "nmlab.frozen_weights"
"""Launch: a ``FrozenWeights``."""
MODEL_LOADS: Final = "nmlab.model_loads"
"""Launch: how often its newest process had a replica load the model."""

# Trials.
TRIAL_KEY: Final = "nmlab.trial_key"
"""Trial: the digest of all that its result depends on, the seed included; 16 hexadecimal digits."""
CONFIGURATION: Final = "nmlab.configuration"
"""Trial: the digest that all seeds of one configuration share; 8 hexadecimal digits."""
CONFIGURATION_NAME: Final = "nmlab.configuration_name"
"""Trial of a launch: its configuration in words, which all its seeds share, so that pages can group runs by it."""
ROLE: Final = "nmlab.role"
"""Trial: a ``Role``."""
STATUS_REASON: Final = "nmlab.status_reason"
"""Trial: why it did not finish, where it did not."""
RESUMABLE: Final = "nmlab.resumable"
"""Trial that was stopped: ``TRUE`` where a later process of the launch goes on with it."""
MISSING_ARTIFACTS: Final = "nmlab.missing_artifacts"
"""Trial: names of files that were gone when the run was closed, with commas between."""
JUDGED: Final = "nmlab.judged"
"""Trial: ``TRUE`` for a model that was made elsewhere and evaluated here; absent otherwise."""
COST: Final = "nmlab.cost"
"""Trial that was lost: a ``KnownCost``."""
TASKS: Final = "nmlab.tasks"
"""Trial with tasks: what their accuracies were measured with, a JSON object; runs that differ in it do not compare."""
CONFIRMATION: Final = "nmlab.confirmation"
"""Trial: ``TRUE`` where its seed took no part in the search (``search.confirm``); absent otherwise."""
TRAIN_LOSS: Final = "nmlab.train_loss"
"""Trial: what ``train/loss`` is, where it is not the text's next-token cross-entropy (`training_losses`)."""
DEPENDS_ON_SEED: Final = "nmlab.depends_on_seed"
"""Trial: whether another seed could give another result: ``TRUE`` or ``FALSE``."""

# Trials and initial masks.
INITIAL_MASK_DIGEST: Final = "nmlab.initial_mask_digest"
"""Initial mask: its own digest. Trial: the digests of the masks it started from, with commas between."""
NOTES: Final = "nmlab.notes"
"""Trial or initial mask: what a reader must know besides the numbers, a line each."""

# Experiments.
STUDY: Final = "nmlab.study"
"""Experiment: the name of the study."""

# Tags of MLflow's own that nmlab sets or reads.
PARENT_RUN: Final = "mlflow.parentRunId"
"""Trial or initial mask of a launch: the run id of the launch."""
RUN_NAME: Final = "mlflow.runName"
"""Every run: the name that MLflow's pages show."""
SOURCE_NAME: Final = "mlflow.source.name"
"""Every run: ``nmlab``."""
USER: Final = "mlflow.user"
"""Every run: who started it."""
NOTE: Final = "mlflow.note.content"
"""Launch: its description in Markdown, which MLflow's page of the run shows."""


class Fact(StrEnum):
    """What a trial's numbers were measured with: keys of ``TrialResult.facts``, each of which becomes a tag."""

    COST = "cost"
    TASKS = "tasks"
    DEPENDS_ON_SEED = "depends_on_seed"
    TRAIN_LOSS = "train_loss"


OF_THE_NEWEST: Final = (PLANNED, CONFIRMATION_SEEDS, REPRODUCES, STUDY_VERSIONS, SEARCH_STOPPED)
"""Tags of a launch that each of its processes sets anew; the others say how its first one began."""


def extension_tag(version: int) -> str:
    """Return the tag that says what a version of a launch's study changed; versions count from 1."""
    return f"{EXTENSION}{version}"


def fact_tag(fact: str) -> str:
    """Return the tag of a fact; journals of other versions may hold facts that are not in ``Fact``."""
    return f"{_PREFIX}{fact}"


def condition(tag: str, value: str, *, comparison: Literal["=", "!=", "LIKE"] = "=") -> str:
    """Return what MLflow's search for runs takes for a condition on a tag; ``%`` in a value stands for any text."""
    return f"tags.`{tag}` {comparison} '{value}'"
