"""The options of `nmlab run` and `nmlab evaluate` that say on what a model is evaluated."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec, Section

    S = TypeVar("S", bound=Section)

_OPTIONS = {"source": "--data"}
Windowing = Annotated[str | None, typer.Option(help="joined, or rolling as in lm-eval.")]
Windows = Annotated[int | None, typer.Option(min=1, help="Windows of held-out text, at most.")]
Tasks = Annotated[str | None, typer.Option(help="Names of lm-eval tasks, or JSONL files, joined by commas.")]
FewShot = Annotated[int | None, typer.Option(min=0, help="Worked examples before a question.")]
Questions = Annotated[int | None, typer.Option(min=1, help="Questions of each task, at most.")]


def given_evaluation(*, tasks: str | None, **settings: Any) -> dict[str, Any]:
    """Return the settings that were given, without those that are None, under the names of an ``EvaluationSpec``."""
    names = tuple(name.strip() for name in tasks.split(",")) if tasks else None
    return {name: value for name, value in {**settings, "tasks": names}.items() if value is not None}


def evaluation_spec(settings: Mapping[str, Any], *, options: Mapping[str, str] = _OPTIONS) -> "EvaluationSpec":
    """Return the specification with these settings; raises ``ValueError`` that names the option that is wrong.

    ``options`` are those that are not called as the setting is.
    """
    from nmlab.trials.contract.sections import EvaluationSpec

    return _checked(EvaluationSpec, settings, options=options)


def calibration_spec(settings: Mapping[str, Any]) -> "CalibrationSpec":
    """Return the specification with these settings; raises ``ValueError`` that names the option that is wrong."""
    from nmlab.trials.contract.sections import CalibrationSpec

    return _checked(CalibrationSpec, settings, options=_OPTIONS)


def _checked(section: "type[S]", settings: Mapping[str, Any], *, options: Mapping[str, str]) -> "S":
    from pydantic import ValidationError

    from nmlab.trials.contract.wording import first_problem

    def option(setting: str) -> str:
        return options.get(setting, "--" + setting.replace("_", "-"))

    try:
        return section.model_validate(dict(settings))
    except ValidationError as error:
        raise ValueError(first_problem(error, name=option)) from error
