"""The guide names every verb of the command line, and no other."""

import re
from pathlib import Path

from nmlab.platform.cli.app import app

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide.md"
_VERB = re.compile(r"^\| `nmlab (?P<verb>[\w-]+)", re.MULTILINE)


def test_the_table_of_verbs_is_complete():
    verbs = [command.name for command in app.registered_commands]
    listed = _VERB.findall(GUIDE.read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(verbs)
    assert len(set(listed)) == len(listed)
