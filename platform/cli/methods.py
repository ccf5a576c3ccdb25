"""``nmlab methods``: list the methods, or explain one."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nmlab.platform.cli.options import Json, console, print_json

if TYPE_CHECKING:
    from nmlab.trials.methods.base import Method

Name = Annotated[str | None, typer.Argument(help="A method to explain.", show_default=False)]


def methods(name: Name = None, as_json: Json = False) -> None:
    """List all methods, including those of installed packages, or explain one with its hyperparameters.

    Example: nmlab methods maskpro
    """
    from nmlab.trials.methods import registry

    chosen = [registry.get(each) for each in ([name] if name else registry.names())]
    if as_json:
        print_json([_method_record(method) for method in chosen])
    elif name:
        _explain(chosen[0])
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("method", "patterns", "cost", "what it does"):
            table.add_column(column, overflow="fold")
        for method in chosen:
            table.add_row(method.name, method.about.patterns, method.about.cost, method.about.summary.splitlines()[0])
        console().print(table)


def _method_record(method: "Method") -> dict[str, Any]:
    from nmlab.trials.methods import registry

    schema = method.config.model_json_schema().get("properties", {})
    return {
        "name": method.name,
        "summary": method.about.summary,
        "paper": method.about.paper,
        "cost": method.about.cost,
        "patterns": method.about.patterns,
        "learned": method.learned,
        "package": registry.package_of(method.name),
        "hyperparameters": schema,
    }


def _explain(method: "Method") -> None:
    from nmlab.trials.methods import registry
    from nmlab.trials.methods.base import source_of_default

    out, about = console(), method.about
    out.print(Text.assemble((method.name, "bold"), f"\n{about.summary}\n"))
    facts = (("paper", about.paper), ("cost", about.cost), ("patterns", about.patterns))
    for title, text in (*facts, ("package", registry.package_of(method.name))):
        out.print(f"{title:9}{text}", markup=False)
    fields = method.config.model_fields
    if not fields:
        out.print("\nIt has no hyperparameters.")
        return
    table = Table(box=None, pad_edge=False, title="\nhyperparameters", title_justify="left")
    for column in ("name", "default", "what it does", "default from"):
        table.add_column(column, overflow="fold")
    for name, field in fields.items():
        default = "null" if field.default is None else str(field.default)
        table.add_row(name, default, field.description or "", source_of_default(field))
    out.print(table)
