"""What users named is printed as text: no markup, no emoji, nothing that a terminal obeys."""

import io
import sys

import pytest
from rich.table import Table
from rich.text import Text

from nmlab.platform import cli
from nmlab.platform.cli.options import console

HOSTILE = "\x1b]0;owned\x07 [/x] [red]r[/red] :smile: \x9b31m \u202egnp"
SHOWN = "\\x1b]0;owned [/x] [red]r[/red] :smile: \\x9b31m \\u202egnp"


def printed(monkeypatch, thing):
    """Return what a console prints."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    console().print(thing)
    return stream.getvalue()


def table():
    shown = Table("name", box=None)
    shown.add_row(HOSTILE)
    return shown


@pytest.mark.parametrize("thing", [HOSTILE, Text(HOSTILE, style="bold"), Text.assemble((HOSTILE, "red"), " x")])
def test_text_is_printed_as_text(monkeypatch, thing):
    assert SHOWN in printed(monkeypatch, thing)  # the bell is taken away by rich itself


def test_tables_hold_text(monkeypatch):
    text = printed(monkeypatch, table())
    assert not any(each in text for each in "\x1b\x07\x9b\u202e")
    assert "[/x]" in text


def test_an_error_of_the_command_line_is_text(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nmlab", "report", HOSTILE])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == 2
    assert not any(each in capsys.readouterr().err for each in "\x1b\x07\x9b\u202e")
