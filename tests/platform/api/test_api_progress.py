"""How a launch is shown while it runs: in a notebook one output, replaced, on a terminal or in a log the view."""

import html
import io
import re
import sys
from types import ModuleType

import pytest

from nmlab.platform.api import progress
from nmlab.platform.api.consoles import PlainConsole
from nmlab.platform.api.launch_status import Status
from nmlab.platform.api.progress import Lines, Notebook, watch_status
from nmlab.platform.launches.view.live_view import view_lines


def snapshot(ended=0, **others):
    return {
        "study": "alpha",
        "launch": "alpha-1",
        "phase": "running",
        "metric": "eval/perplexity",
        "mode": "min",
        "planned": 4,
        "ended": ended,
        "counts": {},
        "elapsed_seconds": 60.0,
        "eta_seconds": None,
        "model_loads": 1,
        "trouble": {},
        "replicas": {},
        "trials": {},
        **others,
    }


def console(*, is_terminal, width=80):
    return PlainConsole(file=io.StringIO(), width=width, height=40, force_terminal=is_terminal, soft_wrap=True)


class Handle:
    """Stands for the output below a notebook's cell, and keeps what replaced what."""

    def __init__(self):
        self.pages = []

    def update(self, page):
        self.pages.append(page)


@pytest.fixture
def outputs(monkeypatch):
    """The outputs below the cell of a notebook without one."""
    made = []

    def display(page, display_id):
        assert display_id is True, "an output that is replaced"
        made.append(Handle())
        made[-1].update(page)
        return made[-1]

    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    module.HTML, module.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return made


def test_a_notebook_replaces_one_output_twice_a_second_and_the_last_state_stays(outputs, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Notebook().watching() as show:
        for ended in range(4):  # a second, four times
            now[0] += 0.25
            show(snapshot(ended))
        show(snapshot(4, phase="finished"))
    (output,) = outputs
    texts = [html.unescape(re.sub(r"<[^>]+>", "", page)) for page in output.pages]
    assert texts[-1] == "\n".join(line.text for line in view_lines(snapshot(4, phase="finished"), width=100))
    assert len(texts) == 4, "the empty output, the first state, one half a second later, the last"
    assert all(page.startswith("<pre") for page in output.pages[1:])


def test_what_is_said_before_the_start_is_broken_between_words_on_a_terminal_alone():
    text = "a note of many words that is wider than the terminal is, " * 3
    for is_terminal in (True, False):
        out = console(is_terminal=is_terminal, width=60)
        Lines(out, notes=out).note(text)
        lines = out.file.getvalue().splitlines()
        assert (max(map(len, lines)) <= 60) is is_terminal
        assert " ".join(" ".join(lines).split()) == f"note: {text.strip()}"


def stand(found, *, alive):
    return Status("alpha-1", found["phase"], alive, found["ended"], 4, {}, found)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_launch_is_followed_until_its_process_ends(monkeypatch, is_terminal):
    monkeypatch.setattr(progress, "_LOOK_S", 0.0)
    rest = iter((stand(snapshot(2), alive=True), stand(snapshot(4, phase="finished"), alive=False)))
    out = console(is_terminal=is_terminal)
    watch_status(stand(snapshot(1), alive=True), out, again=lambda: next(rest))
    assert next(rest, None) is None
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.file.getvalue())
    if is_terminal:
        assert "alpha-1: finished" in text
    else:
        assert "\x1b" not in out.file.getvalue()
        assert text.splitlines()[0].startswith("[1/4] had ended before")
        assert text.splitlines()[-1].startswith("[4/4] took 1m00s")


def test_a_status_is_text_of_its_width():
    found = stand(snapshot(4, phase="killed"), alive=False)
    assert str(found).splitlines()[-1] == "go on with: nmlab resume alpha-1"
    assert max(len(line.text) for line in found.lines(width=60)) <= 60
