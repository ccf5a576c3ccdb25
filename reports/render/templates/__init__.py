"""The templates of the HTML and the Markdown report, with the style and the script of the page."""

from pathlib import Path

import jinja2

from nmlab.trials.contract.escaping import printable


def environment(*, autoescape: bool) -> jinja2.Environment:
    """Return a Jinja environment over the package's own templates, in which a missing name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )


def _printable(value: object) -> object:
    return printable(value) if type(value) is str else value
