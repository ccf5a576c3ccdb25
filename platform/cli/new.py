"""``nmlab new``: write a study for a model and a text."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.completion import complete_advised_method
from nmlab.platform.cli.next_steps import print_steps
from nmlab.platform.cli.options import Json, LeaveDense, console, print_json


def new(
    name: Annotated[str, typer.Argument(help="Name of the study: lower-case letters and digits, joined by hyphens.")],
    model: Annotated[str, typer.Option(help="builtin:tiny, or a Hugging Face folder or hub id.")],
    text: Annotated[
        list[str],
        typer.Option(
            help="A file, folder, pattern or hub id, which is cut into three. Given twice, the second is reported on; "
            "given three times: to learn from, to choose on, to report."
        ),
    ],
    pattern: Annotated[str, typer.Option(help="N:M keeps N of every M weights.")] = "2:4",
    method: Annotated[
        str, typer.Option(help="maskpro, susi or soft_topn.", autocompletion=complete_advised_method)
    ] = "maskpro",
    budget: Annotated[str, typer.Option(help="How long the launch may take, such as 45m or 2h.")] = "2h",
    column: Annotated[str | None, typer.Option(help="Column that holds the text, of JSONL or a table.")] = None,
    leave_dense: LeaveDense = None,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; one that exists is not overwritten. Default: NAME.yaml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a commented study for a model and a text: what fits here, and ranges that worked at that size.

    The text is cut into three parts that do not overlap: to learn from, to choose on, and to report.

    Example: nmlab new mine --model path/to/hf-folder --text corpus.txt --budget 2h
    """
    from nmlab.platform.api.new import written

    found = written(
        name,
        model=model,
        texts=tuple(text),
        settings={"pattern": pattern, "method": method, "budget": budget, "column": column},
        leave_dense=leave_dense or (),
        output=output or Path(f"{name}.yaml"),
    )
    if as_json:
        print_json(found.record())
        return
    out = console()
    for line in found.lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    print_steps(out, [shlex.join(["nmlab", verb, str(found.path)]) for verb in ("plan", "sweep")])
