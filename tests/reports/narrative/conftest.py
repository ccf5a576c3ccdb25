"""The first screen of a launch, with what holds of every one."""

import re

import pytest

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.narrative.first_screen import first_screen_of
from nmlab.reports.narrative.first_screen.trust import MOST_LINES
from nmlab.reports.read.collect import collect


@pytest.fixture
def screen(writer, store):
    """Return a function that writes a launch and returns its first screen."""

    def make(name, trials, **launch):
        writer.launch(name, trials, name=f"{name}-1", **launch)
        return check(first_screen_of(analyse(store, runs=collect(store, study=name))))

    return make


def check(found):
    """What holds of every first screen."""
    assert found.verdict.endswith(".")
    assert 2 <= len(found.verdict.replace("vs. ", "").split(". ")) <= 5, "a few sentences"
    assert 4 <= len(found.tiles.rows) <= 6
    assert len(found.trust) <= MOST_LINES
    assert not re.search(r"\b\d{4,}\.\d|\d,\d{3}\.\d\d", found.verdict + " ".join(found.findings))
    return found
