"""Values as text and as HTML: what rich can print, on a console of fixed width."""

import html
import io
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType

from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.secrets import masked

WIDTH = 120
_PRE = "<pre style='white-space:pre;overflow-x:auto;line-height:1.25;font-family:monospace'>{}</pre>"


def text_of(parts: Iterable[RenderableType]) -> str:
    """Return what a terminal of 120 columns would show, without colours and without passwords."""
    return _printed(parts)


def html_of(parts: Iterable[RenderableType]) -> str:
    """Return the same as preformatted HTML."""
    return _PRE.format(html.escape(_printed(parts)))


def html_text(text: str) -> str:
    """Return text as preformatted HTML."""
    return _PRE.format(html.escape(printable(masked(text))))


def html_facts(title: str, facts: Mapping[str, object]) -> str:
    """Return a heading and a table of names and values as HTML."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(printable(masked(str(value))))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "", ())
    )
    return f"<p><b>{html.escape(title)}</b></p><table>{rows}</table>"


def html_page(page: str, *, height: int = 600) -> str:
    """Return a whole HTML page as a frame within another; scripts of the page run in the frame alone."""
    return (
        f"<iframe srcdoc='{html.escape(page, quote=True)}' sandbox='allow-scripts allow-popups' "
        f"style='width:100%;height:{height}px;border:1px solid #ccc'></iframe>"
    )


def _printed(parts: Iterable[RenderableType]) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=WIDTH, force_terminal=False, force_jupyter=False, markup=False, emoji=False, highlight=False
    )
    for part in parts:
        console.print(part, soft_wrap=True)
    lines = (line.rstrip() for line in stream.getvalue().splitlines())
    return "\n".join(printable(masked(line)) for line in lines)
