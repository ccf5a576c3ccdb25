"""From the arguments of `nmlab run` to the specification of its trial."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from nmlab.platform.api.evaluation_settings import calibration_spec, evaluation_spec, given_evaluation
from nmlab.trials.contract.values import Hyperparameters, JsonObject, Scalar

if TYPE_CHECKING:
    from nmlab.trials.contract.trial_spec import TrialSpec

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


@dataclass(frozen=True)
class TrialTexts:
    """The texts of a trial as `run` takes them: what it learns from, and what it is evaluated on if that is another."""

    data: str
    evaluation: str | None = None
    split: str | None = None
    evaluation_split: str | None = None
    column: str | None = None


class TrialSizes(TypedDict):
    """Calibration windows, tokens of a window, and windows of a minibatch."""

    samples: int
    sequence_length: int
    batch_size: int


class TrialEvaluation(TypedDict):
    """What a trial is evaluated with, as `run` takes it; None is the default."""

    tasks: str | Sequence[str] | None
    windowing: str | None
    windows: int | None
    few_shot: int | None
    questions: int | None


def specification(
    method: str,
    hyperparameters: Hyperparameters | Sequence[str] | None,
    *,
    texts: TrialTexts,
    model: Mapping[str, object],
    sizes: TrialSizes,
    measured: TrialEvaluation,
    pattern: str,
    seed: int,
) -> "TrialSpec":
    """Return the specification of a trial, with the method's defaults filled in.

    Args:
        method: the method's name.
        hyperparameters: by name, or as the command line has them: ``NAME=VALUE``, with values in YAML.
        texts: what it learns from and is evaluated on.
        model: the settings of a model source.
        sizes: of its windows and minibatches.
        measured: how it is evaluated.
        pattern: as N:M.
        seed: of the trial.

    Raises:
        ValueError: one line about what is wrong.
    """
    from nmlab.trials.contract.model_settings import model_source
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.contract.trial_spec import TrialSpec

    learned, held_out = _text_settings(texts)
    windows = {"sequence_length": sizes["sequence_length"], "batch_size": sizes["batch_size"]}
    options = {"source": "--evaluation" if texts.evaluation else "--data", "split": "--evaluation-split"}
    return TrialSpec(
        method=method,
        pattern=str(Pattern.parse(pattern)),
        seed=seed,
        hyperparameters=_hyperparameters(method, pattern, hyperparameters or {}),
        model=model_source(model),
        calibration=calibration_spec({**sizes, **learned}),
        evaluation=evaluation_spec({**held_out, **windows, **given_evaluation(**measured)}, options=options),
    )


def _text_settings(texts: TrialTexts) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Return the settings of the text to learn from and of the text to evaluate on.

    One text given alone is cut (a Hugging Face dataset at its split): no mask is evaluated on the text it learned from.
    """
    data, evaluation = texts.data, texts.evaluation
    learned = {"source": data, "split": texts.split, "column": texts.column}
    held_out = {"source": evaluation or data, "split": texts.evaluation_split, "column": texts.column}
    if evaluation is not None or data.startswith("builtin:"):
        return learned, held_out
    if Path(data).expanduser().exists() or not _HUB_ID.fullmatch(data):
        return {**learned, "source": f"{data}[:80%]"}, {**held_out, "source": f"{data}[80%:]"}
    if texts.evaluation_split is None:
        name = texts.split or "train"
        return {**learned, "split": f"{name}[:80%]"}, {**held_out, "split": f"{name}[80%:]"}
    return learned, held_out


def _hyperparameters(method: str, pattern: str, given: Hyperparameters | Sequence[str]) -> JsonObject:
    from nmlab.search_spaces.reading.overrides import as_given
    from nmlab.trials.contract.errors import SettingError
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.methods import registry

    named = dict(given) if isinstance(given, Mapping) else _parsed(given)
    known = registry.get(method)
    try:
        config = known.configure(named)
    except SettingError as error:
        own = [] if isinstance(given, Mapping) else [text for text in given if _name_of(text) == error.setting]
        raise ValueError(f"{as_given(own[-1])}: {error}" if own else str(error)) from error
    if reason := known.unsupported_reason(Pattern.parse(pattern), config):
        raise ValueError(f"{method}: {reason}")
    return config.model_dump()


def _parsed(given: Sequence[str]) -> dict[str, Scalar]:
    from nmlab.search_spaces.reading import study_yaml
    from nmlab.search_spaces.reading.overrides import as_given

    parsed = {}
    for text in given:
        _, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text!r}: expected NAME=VALUE, for example steps=500")
        parsed[_name_of(text)] = study_yaml.read(value, source=as_given(text), has_lines=False)[0]
    return parsed


def _name_of(text: str) -> str:
    """Return the hyperparameter that NAME=VALUE sets."""
    return text.partition("=")[0].strip()
