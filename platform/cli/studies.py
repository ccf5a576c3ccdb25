"""``nmlab studies``: list the packaged studies: what they ask, what they reproduce, their sizes and costs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nmlab.platform.cli.options import Json, console, print_json

if TYPE_CHECKING:
    from nmlab.search_spaces.schema.study import Study

Name = Annotated[str | None, typer.Argument(help="A study to show in full, by name or file.", show_default=False)]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of study files.")]
_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def studies(name: Name = None, schema: Schema = False, as_json: Json = False) -> None:
    """List the studies that come with nmlab, or show one with its presets: what it asks, reproduces and costs.

    Example: nmlab studies susi-methods
    """
    from nmlab.search_spaces import loader
    from nmlab.search_spaces.json_schema import json_schema

    if schema:
        print_json(json_schema())
    elif name:
        _show(name, as_json=as_json)
    else:
        records = [_record(study, presets=loader.presets(study.name)) for study in loader.studies()]
        print_json(records) if as_json else _list(records)


def _list(records: list[dict[str, Any]]) -> None:
    out = console()
    width = max(len(record["name"]) for record in records)
    out.print(f"{'study':{width}}  trials  tokens  presets  reproduces", style="bold")
    for record in records:
        counts = f"{record['trials']:>6}  {_short(record['tokens']):>6}  {len(record['presets']) or 1:>7}"
        out.print(f"{record['name']:{width}}  {counts}  {_items(record['reproduces'])}".rstrip(), markup=False)
        out.print(Padding(record["answers"] or "", (0, 0, 0, 2)), soft_wrap=False, markup=False, style="dim")
    out.print("\nTrials and training tokens are those of the first preset. T is a table, F a figure of a paper.")
    out.print("nmlab studies STUDY shows one with its presets.")


def _show(name: str, *, as_json: bool) -> None:
    from nmlab.search_spaces import loader

    presets = loader.presets(name)
    sizes = [loader.load(name, preset=preset) for preset in presets or (None,)]
    records = [_record(study, presets=presets) for study in sizes]
    if as_json:
        print_json({**records[0], "description": sizes[0].description, "sizes": records})
        return
    out, study = console(), sizes[0]
    out.print(Text.assemble((study.name, "bold"), f"  {study.title or ''}\n"))
    for text in (study.question, study.description):
        if text:
            out.print(Padding(text, (0, 0, 1, 0)), soft_wrap=False, markup=False)
    if study.reproduces:
        out.print("reproduces")
        for item in dict.fromkeys(item for size in sizes for item in size.reproduces):
            out.print(f"  {item:18} {_caption(item)}".rstrip(), markup=False)
        out.print()
    out.print(_sizes(records))
    other = " [--preset PRESET]" if len(presets) > 1 else ""
    out.print(f"\nsearched: {', '.join(study.entries) or 'nothing'}; by {study.search.algorithm}")
    out.print(f"run it with: nmlab sweep {name}{other}", markup=False)


def _sizes(records: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("preset", "model", "trials", "steps", "tokens", "items"):
        number = column in ("trials", "steps", "tokens")
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for record in records:
        counts = (str(record["trials"]), _short(record["steps"]), _short(record["tokens"]))
        table.add_row(record["preset"] or "-", record["model"], *counts, _items(record["reproduces"]))
    return table


def _record(study: "Study", *, presets: tuple[str, ...]) -> dict[str, Any]:
    from nmlab.platform.planning.price import price_of

    return {
        "name": study.name,
        "preset": study.preset,
        "title": study.title,
        "answers": study.question,
        "reproduces": list(study.reproduces),
        "presets": list(presets),
        "model": study.model.source,
        "search": study.search.algorithm,
        **vars(price_of(study)),
    }


def _items(reproduces: list[str]) -> str:
    """Return ``maskpro/table-1, maskpro/figure-3a`` as "MaskPro T1 F3a"."""
    papers: dict[str, list[str]] = {}
    for item in reproduces:
        paper, _, name = item.partition("/")
        kind, _, number = name.partition("-")
        papers.setdefault({"maskpro": "MaskPro", "susi": "SUSI"}.get(paper, paper), []).append(
            f"{kind[:1].upper()}{number}" if number else name
        )
    return "; ".join(" ".join((paper, *names)) for paper, names in papers.items())


def _caption(item: str) -> str:
    from nmlab.reports.analysis.published import published_tables

    table = published_tables().get(item)
    return table.caption if table else ""


def _short(count: int) -> str:
    for unit, letter in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return str(count)
