"""``nmlab methods``: list the methods, or explain one."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from nmlab.platform.cli.completion import complete_method
from nmlab.platform.cli.options import Json, console, print_json

if TYPE_CHECKING:
    from nmlab.platform.api.listings import MethodInfo

Name = Annotated[
    str | None, typer.Argument(help="A method to explain.", show_default=False, autocompletion=complete_method)
]


def methods(name: Name = None, as_json: Json = False) -> None:
    """List all methods, including those of installed packages, or explain one with its hyperparameters.

    Example: nmlab methods maskpro
    """
    from nmlab.platform.api import listings

    chosen = (listings.methods(name),) if name else listings.methods()
    if as_json:
        print_json([method.record() for method in chosen])
    elif name:
        _explain(chosen[0])
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("method", "patterns", "cost", "what it does"):
            table.add_column(column, overflow="fold")
        for method in chosen:
            table.add_row(method.name, method.patterns, method.cost, method.summary.splitlines()[0])
        console().print(table)


def _explain(method: "MethodInfo") -> None:
    out = console()
    out.print(Text.assemble((method.name, "bold"), f"\n{method.summary}\n"))
    facts = (("paper", method.paper), ("cost", method.cost), ("patterns", method.patterns), ("package", method.package))
    for title, text in facts:
        out.print(f"{title:9}{text}", markup=False)
    if not method.hyperparameters:
        out.print("\nIt has no hyperparameters.")
        return
    table = Table(box=None, pad_edge=False, title="\nhyperparameters", title_justify="left")
    for column in ("name", "default", "what it does", "default from"):
        table.add_column(column, overflow="fold")
    for own in method.hyperparameters:
        default = "null" if own.default is None else str(own.default)
        table.add_row(own.name, default, own.description, own.source)
    out.print(table)
