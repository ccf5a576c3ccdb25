"""The options of `nmlab run` and `nmlab evaluate` that say on what a model is evaluated."""

from typing import Annotated

import typer

Windowing = Annotated[str | None, typer.Option(help="joined, or rolling as in lm-eval.")]
Windows = Annotated[int | None, typer.Option(min=1, help="Windows of held-out text, at most.")]
Tasks = Annotated[str | None, typer.Option(help="Names of lm-eval tasks, or JSONL files, joined by commas.")]
FewShot = Annotated[int | None, typer.Option(min=0, help="Worked examples before a question.")]
Questions = Annotated[int | None, typer.Option(min=1, help="Questions of each task, at most.")]
