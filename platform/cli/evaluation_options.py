"""The options of `nmlab run` and `nmlab evaluate` that say on what a model is evaluated."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nmlab.trials.spec import EvaluationSpec

Windowing = Annotated[str | None, typer.Option(help="joined, or rolling as in lm-eval.")]
Windows = Annotated[int | None, typer.Option(min=1, help="Windows of held-out text, at most.")]
Tasks = Annotated[str | None, typer.Option(help="Names of lm-eval tasks, or JSONL files, joined by commas.")]
FewShot = Annotated[int | None, typer.Option(min=0, help="Worked examples before a question.")]
Questions = Annotated[int | None, typer.Option(min=1, help="Questions of each task, at most.")]


def given_evaluation(*, tasks: str | None, **settings: Any) -> dict[str, Any]:
    """Return the settings that were given, without those that are None, under the names of an ``EvaluationSpec``."""
    names = tuple(name.strip() for name in tasks.split(",")) if tasks else None
    return {name: value for name, value in {**settings, "tasks": names}.items() if value is not None}


def evaluation_spec(settings: Mapping[str, Any]) -> "EvaluationSpec":
    """Return the specification with these settings; raises ``ValueError`` that names the wrong option."""
    from pydantic import ValidationError

    from nmlab.trials.names import unknown_name
    from nmlab.trials.spec import WINDOWINGS, EvaluationSpec

    try:
        return EvaluationSpec.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        if option == "--windowing":
            raise ValueError(unknown_name(first["input"], kind=option, known=WINDOWINGS)) from error
        raise ValueError(f"{option} {first['input']!r}: {first['msg']}") from error
