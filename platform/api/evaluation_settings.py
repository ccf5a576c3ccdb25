"""The settings that say on what a model is evaluated or learns, as `run` and `evaluate` are given them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec, Section

    S = TypeVar("S", bound=Section)

_OPTIONS = {"source": "--data"}


def given_evaluation(*, tasks: str | Sequence[str] | None, **settings: object) -> dict[str, object]:
    """Return the settings that were given, without those that are None, under the names of an ``EvaluationSpec``.

    ``tasks`` are names or files, as a sequence or joined by commas.
    """
    listed = tasks.split(",") if isinstance(tasks, str) else tasks
    names = tuple(str(name).strip() for name in listed) if listed else None
    return {name: value for name, value in {**settings, "tasks": names}.items() if value is not None}


def evaluation_spec(settings: Mapping[str, object], *, options: Mapping[str, str] = _OPTIONS) -> "EvaluationSpec":
    """Return the specification with these settings; raises ``ValueError`` that names the option that is wrong.

    ``options`` are those that are not called as the setting is.
    """
    from nmlab.trials.contract.sections import EvaluationSpec

    return _checked(EvaluationSpec, settings, options=options)


def calibration_spec(settings: Mapping[str, object]) -> "CalibrationSpec":
    """Return the specification with these settings; raises ``ValueError`` that names the option that is wrong."""
    from nmlab.trials.contract.sections import CalibrationSpec

    return _checked(CalibrationSpec, settings, options=_OPTIONS)


def _checked(section: "type[S]", settings: Mapping[str, object], *, options: Mapping[str, str]) -> "S":
    from pydantic import ValidationError

    from nmlab.trials.contract.wording import first_problem

    def option(setting: str) -> str:
        return options.get(setting, "--" + setting.replace("_", "-"))

    try:
        return section.model_validate(dict(settings))
    except ValidationError as error:
        raise ValueError(first_problem(error, name=option)) from error
