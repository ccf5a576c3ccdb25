"""``nmlab studies``: list the packaged studies: what they ask, what they reproduce, their sizes and costs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nmlab.platform.cli.completion import complete_study
from nmlab.platform.cli.options import Json, console, print_json

if TYPE_CHECKING:
    from nmlab.platform.api.listings import StudyInfo

Name = Annotated[
    str | None,
    typer.Argument(help="A study to show in full, by name or file.", show_default=False, autocompletion=complete_study),
]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of study files.")]
_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def studies(name: Name = None, schema: Schema = False, as_json: Json = False) -> None:
    """List the studies that come with nmlab, or show one with its presets: what it asks, reproduces and costs.

    Example: nmlab studies susi-methods
    """
    from nmlab.platform.api import listings

    if schema:
        print_json(listings.study_schema())
    elif name:
        study = listings.studies(name)
        print_json(study.record()) if as_json else _show(study, called=name)
    else:
        found = listings.studies()
        print_json([study.record() for study in found]) if as_json else _list(found)


def _list(found: Sequence["StudyInfo"]) -> None:
    out = console()
    width = max(len(study.name) for study in found)
    out.print(f"{'study':{width}}  trials  tokens  presets  reproduces", style="bold")
    for study in found:
        counts = f"{study.trials:>6}  {_short(study.tokens):>6}  {len(study.presets) or 1:>7}"
        out.print(f"{study.name:{width}}  {counts}  {_items(study.reproduces)}".rstrip(), markup=False)
        out.print(Padding(study.question or "", (0, 0, 0, 2)), soft_wrap=False, markup=False, style="dim")
    out.print("\nTrials and training tokens are those of the first preset. T is a table, F a figure of a paper.")
    out.print("nmlab studies STUDY shows one with its presets.")


def _show(study: "StudyInfo", *, called: str) -> None:
    out = console()
    out.print(Text.assemble((study.name, "bold"), f"  {study.title or ''}\n"))
    for text in (study.question, study.description):
        if text:
            out.print(Padding(text, (0, 0, 1, 0)), soft_wrap=False, markup=False)
    if study.reproduces:
        out.print("reproduces")
        captions = {
            item: text for size in study.sizes for item, text in zip(size.reproduces, size.captions, strict=True)
        }
        for item, caption in captions.items():
            out.print(f"  {item:18} {caption}".rstrip(), markup=False)
        out.print()
    out.print(_sizes(study.sizes))
    other = " [--preset PRESET]" if len(study.presets) > 1 else ""
    out.print(f"\nsearched: {', '.join(study.searched) or 'nothing'}; by {study.search}: {study.search_summary}")
    out.print(f"run it with: nmlab sweep {called}{other}", markup=False)


def _sizes(sizes: Sequence["StudyInfo"]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("preset", "model", "trials", "steps", "tokens", "items"):
        number = column in ("trials", "steps", "tokens")
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for size in sizes:
        counts = (str(size.trials), _short(size.steps), _short(size.tokens))
        table.add_row(size.preset or "-", size.model, *counts, _items(size.reproduces))
    return table


def _items(reproduces: Sequence[str]) -> str:
    """Return ``maskpro/table-1, maskpro/figure-3a`` as "MaskPro T1 F3a"."""
    papers: dict[str, list[str]] = {}
    for item in reproduces:
        paper, _, name = item.partition("/")
        if paper == "nmlab":
            papers.setdefault("claims of ours", [])
            continue
        kind, _, number = name.partition("-")
        papers.setdefault({"maskpro": "MaskPro", "susi": "SUSI"}.get(paper, paper), []).append(
            f"{kind[:1].upper()}{number}" if number else name
        )
    return "; ".join(" ".join((paper, *names)) for paper, names in papers.items())


def _short(count: int) -> str:
    for unit, letter in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return str(count)
