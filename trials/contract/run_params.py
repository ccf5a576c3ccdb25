"""Parameters of runs that have a meaning beyond their value: those that code looks for by name.

A trial has every setting under a dotted name and hyperparameters under their own; an initial mask has what it was made
from under the same names; a launch has the whole study. The names are kept.
"""

from collections.abc import Mapping
from typing import Final

from nmlab.trials.contract import run_tags

# Of trials, models from elsewhere and initial masks.
METHOD: Final = "method"
"""The method's name."""
PATTERN: Final = "pattern"
"""The pattern, such as ``2:4``."""
SEED: Final = "seed"
"""The seed, by which runs of one configuration are paired."""
IDENTITY: Final = (METHOD, PATTERN, SEED)
"""What has a column of its own and is no setting."""
INITIAL_MASK: Final = "initial_mask"
"""The hyperparameter that names what learning starts from."""
MODEL_SOURCE: Final = "model.source"
"""Where the model comes from."""
MODEL_DTYPE: Final = "model.dtype"
"""The number type that it computes in."""
CALIBRATION_SAMPLES: Final = "data.calibration.samples"
"""The number of calibration sequences; the one setting outside of the hyperparameters that a space may search."""
EVALUATION_SOURCE: Final = "data.evaluation.source"
"""The text that masks are evaluated on."""
CALIBRATION_DIGEST: Final = "calibration_digest"
"""The digest of the text that an initial mask was computed from."""
JUDGED_SOURCE: Final = "judged.source"
"""Where the weights of an external model are."""

# How names begin.
MODEL: Final = "model."
DATA: Final = "data."
CALIBRATION: Final = "data.calibration."
EVALUATION: Final = "data.evaluation."
VALIDATION: Final = "data.validation."
NEUTRAL: Final = "data.neutral."
"""Then the name of the text, and its setting: ``data.neutral.NAME.source``."""
SEARCH: Final = "search."
SPACE: Final = "space."

# Of launches.
TITLE: Final = "title"
"""The study's title."""
ANSWERS: Final = "answers"
"""The question that the study answers."""
SEARCH_METRIC: Final = "search.metric"
"""The searched metric, or several."""
SEARCH_MODE: Final = "search.mode"
"""``min`` or ``max``, for each metric."""
SEARCH_CONSTRAINTS: Final = "search.constraints."
"""How the limits on other metrics begin: ``search.constraints.METRIC.max`` and ``search.constraints.METRIC.min``."""


def neutral_sources(params: Mapping[str, str]) -> dict[str, str]:
    """Return where the neutral texts of a run come from, by name."""
    own = (name.removeprefix(NEUTRAL).split(".") for name in params if name.startswith(NEUTRAL))
    names = dict.fromkeys(parts[0] for parts in own)
    return {text: params.get(f"{NEUTRAL}{text}.source", "") for text in names}


def newest_params(params: Mapping[str, str], *, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of the newest version of a launch's study.

    MLflow's parameters keep their values, so what an extension of the launch changed is in its run's ``tags``.
    """
    prefix = run_tags.CHANGED_PARAM
    changed = {name.removeprefix(prefix): text for name, text in tags.items() if name.startswith(prefix)}
    return {name: text for name, text in {**params, **changed}.items() if text != run_tags.REMOVED_PARAM}
