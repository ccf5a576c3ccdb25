"""The view of a launch: whatever its state, names and width, no line is too long and no word is broken."""

import html
import io
import re
import sys
from contextlib import redirect_stdout

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from nmlab.platform.api.consoles import PlainConsole
from nmlab.platform.launches.view.live_view import status_lines, view_lines
from nmlab.platform.launches.view.log_view import LaunchLog
from nmlab.platform.launches.view.outputs import LaunchView, as_html, as_rich
from nmlab.platform.launches.view.texts import shortened, wrapped
from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.run_status import TrialStatus

WIDTHS = (60, 80, 120)
DIVERGED = "sampled masks lose {} nats a token over the last 100 losses; lower learning_rate or raise logit_magnitude"


def trial(configuration=0, seed=0, status="finished", *, settings=None, **others):
    settings = {"alpha": "0.97", "learning_rate": f"1.{configuration}"} if settings is None else settings
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    return {
        "label": f"maskpro 2:4 {words}",
        "method": "maskpro",
        "settings": settings,
        "seed": seed,
        "steps": 600,
        "configuration": str(configuration),
        "pattern": "2:4",
        "role": "search",
        "replicates": 3,
        "status": status,
        "step": 340,
        "host": "replica-0",
        "loss": 5.123,
        "initial": 128.84,
        "perplexity": 118.91 if status == "finished" else None,
        "reason": "",
        "ended": status not in ("running", "waiting"),
        **others,
    }


def snapshot(*trials, **others):
    of_launch = {str(number): each for number, each in enumerate(trials)}
    return {
        "study": "alpha",
        "launch": "alpha-20261130-180500",
        "phase": "running",
        "metric": "validation/perplexity",
        "mode": "min",
        "planned": 33,
        "ended": sum(each["ended"] for each in trials),
        "counts": {},
        "elapsed_seconds": 252.0,
        "eta_seconds": 130.0,
        "model_loads": 2,
        "trouble": {},
        "replicas": {},
        "trials": of_launch,
        **others,
    }


STANDING = {
    "pattern": "2:4",
    "label": "maskpro 2:4 alpha=0.99 logit_magnitude=4.57 learning_rate=2.13 initial_mask=wanda",
    "mean": 118.91,
    "seeds": 3,
    "baseline": "wanda 2:4",
    "baseline_mean": 132.6,
}


def text_of(found, width=80):
    return "\n".join(line.text for line in view_lines(found, width=width))


def test_the_best_stands_beside_the_best_baseline():
    shown = text_of(snapshot(trial(), best=[STANDING]))
    assert "best so far    118.9 (mean of 3 seeds)" in shown
    assert "best baseline  132.6\n               wanda 2:4" in shown
    assert "difference     13.69 better than the best baseline" in shown
    assert "4m12s so far, about 2m10s left; 32 to come, 1 finished" in shown


@pytest.mark.parametrize(
    ("least", "text"),
    [
        ({"seconds": 725.0, "unmeasured": ["maskpro"]}, "at least 12m05s left: maskpro not measured yet;"),
        (
            {"seconds": 0.0, "unmeasured": ["susi", "the search"]},
            "time left unknown: susi, the search not measured yet;",
        ),
        (None, "so far, time left not measured yet;"),
    ],
)
def test_the_time_left_names_what_is_not_measured(least, text):
    others = {} if least is None else {"eta_at_least": least}
    assert text in " ".join(text_of(snapshot(eta_seconds=None, **others)).split())


@pytest.mark.parametrize(("mode", "word"), [("min", "better"), ("max", "worse")])
def test_better_is_what_the_objective_says(mode, word):
    assert f"13.69 {word} than the best baseline" in text_of(snapshot(best=[STANDING], mode=mode))


def test_the_difference_is_that_on_fresh_seeds_once_both_have_all_of_them():
    fresh = {"metric": "m", "planned": 5, "ended": 5, "finished": 5, "mean": 122.9}
    confirmed = {**STANDING, "looked_at": 8, "fresh": fresh, "baseline_fresh": {**fresh, "mean": 121.9}}
    assert "1 worse than the best baseline on fresh seeds" in text_of(snapshot(best=[confirmed]))
    partly = {**confirmed, "baseline_fresh": {**fresh, "ended": 2, "mean": 1.0}}
    shown = text_of(snapshot(best=[partly]))
    assert "13.69 better than the best baseline\n" in f"{shown}\n"
    assert "best of 8      118.9 (mean of 3 seeds); 122.9 on 5 fresh seeds" in shown


def test_settings_stand_once_for_all_trials_that_run():
    trials = [trial(configuration, seed, "running") for configuration in (1, 2) for seed in (0, 1, 2)]
    shown = text_of(snapshot(*trials))
    assert shown.count("alpha=0.97") == 1, "all have it in common"
    assert (shown.count("learning_rate=1.1"), shown.count("learning_rate=1.2")) == (1, 1)
    assert shown.count("step 340 of 600, loss 5.123") == 6


def test_a_failure_is_shown_with_its_whole_reason_and_those_alike_together():
    failed = [trial(number, 0, "diverged", reason=DIVERGED.format(6.2 + number)) for number in range(9)]
    shown = text_of(snapshot(*failed, trial(20, status="failed", reason="no such file: a b")))
    assert "  9 diverged" in shown
    assert " ".join(shown.split()).count("lower learning_rate or raise logit_magnitude") == 1
    assert "14.2 nats" in shown, "the last of them"
    assert "  1 failed     no such file: a b" in shown
    assert "and 7 more configurations" in shown


def test_what_the_search_stopped_has_not_failed():
    stopped = trial(status="stopped", reason="stopped early: worse than half")
    interrupted = trial(1, status="stopped", reason="interrupted")
    assert "did not finish" not in text_of(snapshot(stopped))
    assert "1 stopped early" in text_of(snapshot(stopped))
    assert "  1 stopped    interrupted" in text_of(snapshot(interrupted))


def test_a_low_terminal_gets_shorter_lists_and_no_more_lines_than_it_has():
    trials = [trial(number, 0, "running") for number in range(9)]
    failed = [trial(20 + number, 0, "failed", reason="x" * number) for number in range(9)]
    found = snapshot(*trials, *failed, best=[STANDING], trouble={"disk": "full"})
    assert len(view_lines(found, width=80)) > 30
    for height in (30, 24, 10, 3, 1):
        lines = view_lines(found, width=80, height=height)
        assert len(lines) <= height
    assert "did not finish" in "\n".join(line.text for line in view_lines(found, width=80, height=30))


def test_a_status_of_an_earlier_version_is_shown_by_its_labels():
    old = trial(status="running")
    del old["method"], old["settings"]
    assert "maskpro 2:4 alpha=0.97 learning_rate=1.0" in text_of(snapshot(old))


# --- any state at any width -------------------------------------------------------------------------------------------

WORDS = st.text(min_size=0, max_size=90)
LONG = st.sampled_from(["/" + "folder/" * 20, "字" * 70, "a\u0301" * 50, "http://u:secret@host/" + "x" * 90])
TEXTS = st.lists(WORDS | LONG, max_size=4).map(" ".join)
NUMBERS = st.none() | st.floats()
SETTINGS = st.dictionaries(st.text(min_size=1, max_size=30), TEXTS, max_size=5)
TRIALS = st.builds(
    trial,
    st.integers(0, 3),
    st.integers(0, 10**9),
    st.sampled_from([str(status) for status in TrialStatus]),
    settings=SETTINGS,
    reason=TEXTS,
    pattern=WORDS,
    method=WORDS,
    loss=NUMBERS,
    perplexity=NUMBERS,
    ended=st.booleans(),
    confirmation=st.booleans(),
)
FRESH = st.fixed_dictionaries(
    {
        "metric": WORDS,
        "planned": st.integers(1, 9),
        "ended": st.integers(0, 9),
        "finished": st.integers(0, 9),
        "mean": NUMBERS,
    }
)
STANDINGS = st.fixed_dictionaries(
    {
        "pattern": WORDS,
        "label": TEXTS,
        "mean": NUMBERS,
        "seeds": st.integers(1, 99),
        "baseline": TEXTS,
        "baseline_mean": NUMBERS,
    },
    optional={
        "looked_at": st.integers(0, 999),
        "fresh": FRESH,
        "baseline_fresh": FRESH,
        "infeasible": st.integers(0, 9),
    },
)
REPLICA = {"state": "ready", "device": "cpu", "slots": 1, "shards": [{}]}
REFUSED = TEXTS.map(lambda reason: {"state": "refused", "slots": 0, "reason": reason})
SNAPSHOTS = st.builds(
    lambda trials, **others: snapshot(*trials, **others),
    st.lists(TRIALS, max_size=25),
    study=TEXTS,
    launch=TEXTS,
    metric=WORDS,
    phase=st.sampled_from(["starting", "running", "finished", "killed", "stopped"]),
    planned=st.integers(0, 10**7),
    elapsed_seconds=st.floats(0, 1e8),
    eta_seconds=st.none() | st.floats(0, 1e8),
    eta_at_least=st.fixed_dictionaries({"seconds": st.floats(0, 1e8), "unmeasured": st.lists(WORDS, min_size=1)}),
    trouble=st.dictionaries(WORDS, TEXTS, max_size=9),
    best=st.lists(STANDINGS, max_size=9),
    replicas=st.dictionaries(WORDS, st.just(REPLICA) | REFUSED, max_size=4),
    search_stopped=TEXTS,
)


@settings(max_examples=25, deadline=None)
@given(SNAPSHOTS, st.sampled_from([*WIDTHS, 20, 41]), st.none() | st.integers(1, 60))
def test_no_line_is_wider_than_the_width_and_no_password_is_shown(found, width, height):
    seen = [line.text for line in view_lines(found, width=width, height=height)]
    log = LaunchLog(width=width)
    seen += log.update({**found, "trials": {}}, now=0.0) + log.update(found, now=100.0, is_last=True)
    seen += [line.text for line in status_lines(found, width=width)]
    assert [line for line in seen if cell_len(line) > width or printable(line, keep="") != line] == []
    assert not any("secret" in line for line in seen)


@given(TEXTS, st.sampled_from(WIDTHS))
def test_only_spaces_break_a_line_and_a_word_stays_whole_unless_it_is_wider(text, width):
    broken = " ".join(wrapped(text, width)).split()
    assert len(broken) <= max(1, len(text.split()) * 2)
    for word in text.split():
        if cell_len(word) <= width and word.isprintable() and word.isascii() and "secret" not in text:
            assert word in broken


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_word_that_is_too_wide_keeps_its_ends(word, width):
    short = shortened(word, width)
    assert cell_len(short) <= width
    if cell_len(word) <= width:
        assert short == word


def test_a_long_word_keeps_both_ends():
    assert shortened("a-study-with-a-long-name-20261130-180500", 20) == "a-study-w...0-180500"


# --- the outputs ------------------------------------------------------------------------------------------------------


def test_a_log_says_each_configuration_once_and_a_reason_once():
    log = LaunchLog(width=80)
    assert log.update(snapshot(), now=0.0) == []
    some = [trial(0, seed) for seed in (0, 1)]
    assert log.update(snapshot(*some), now=6.0) == [], "a seed is missing"
    some += [trial(0, 2, "diverged", reason=DIVERGED.format(6.1))]
    lines = log.update(snapshot(*some), now=12.0)
    assert " ".join(lines[0].split()).startswith("diverged: maskpro 2:4 alpha=0.97 learning_rate=1.0, seed 2: sampled")
    ended = "[3/33] maskpro 2:4 alpha=0.97 learning_rate=1.0: 118.9 (mean of 118.9, 118.9); 1 diverged"
    assert " ".join(" ".join(lines).split()).endswith(ended)
    more = [*some, *(trial(1, seed, "diverged", reason=DIVERGED.format(7)) for seed in range(3))]
    assert log.update(snapshot(*more), now=18.0) == ["[6/33] maskpro 2:4 alpha=0.97 learning_rate=1.1: 3 diverged"]
    assert log.update(snapshot(*more), now=30.0) == []


def test_a_log_of_many_trials_stays_short():
    log, lines = LaunchLog(width=80), []
    log.update(snapshot(), now=0.0)
    trials = []
    for second in range(100):
        trials += [trial(f"{second} {number}", replicates=1) for number in range(50)]
        lines += log.update(snapshot(*trials, planned=5000), now=float(second))
    lines += log.update(snapshot(*trials, planned=5000), now=100.0, is_last=True)
    assert 20 < len(lines) < 300
    assert any("configurations more" in line for line in lines)
    assert any("left; " in line for line in lines), "a summary"


def test_a_log_counts_what_had_ended_before_and_says_a_trouble_at_once():
    log = LaunchLog(width=80)
    before = snapshot(*(trial(0, seed) for seed in range(3)))
    assert log.update(before, now=0.0)[0].startswith("[3/33] had ended before; ")
    full = {**before, "trouble": {"disk": "no space left"}}
    assert log.update(full, now=0.1) == ["no space left"]
    assert log.update(full, now=0.2) == []
    assert log.update(before, now=0.3) == []
    assert log.update(full, now=0.4) == ["no space left"], "it began again"


def test_a_quiet_log_says_troubles_alone():
    log = LaunchLog(width=80, only_trouble=True)
    assert log.update(snapshot(*(trial(0, seed) for seed in range(3)), trouble={"a": "b"}), now=0.0) == ["b"]


def screen(width, *, is_terminal):
    return PlainConsole(
        file=io.StringIO(), width=width, height=30, force_terminal=is_terminal, soft_wrap=True, legacy_windows=False
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_a_terminal_shows_the_lines_of_the_view_as_they_are(width):
    console = screen(width, is_terminal=True)
    found = snapshot(trial(1, 0, "running"), best=[STANDING])
    with LaunchView(console, stays=True) as view:
        view.show(found)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()).replace("\r", "\n")
    shown = [line.rstrip() for line in plain.split("\n") if line.strip()]
    expected = [line.text for line in view_lines(found, width=width, height=29) if line.text]
    assert shown[-len(expected) :] == expected


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_standard_output_is_as_before_though_a_launch_redirects_it_meanwhile(is_terminal, tmp_path):
    before = sys.stdout
    with LaunchView(screen(80, is_terminal=is_terminal)) as view, (tmp_path / "ray.log").open("w") as noise:
        with redirect_stdout(noise):
            view.show(snapshot())
        view.show(snapshot(trial()))
    assert sys.stdout is before


def test_a_stream_that_is_no_terminal_gets_a_plain_line_for_each_event():
    console = screen(80, is_terminal=False)
    with LaunchView(console) as view:
        view.show(snapshot())
        view.show(snapshot(*(trial(0, seed) for seed in range(3))))
    text = console.file.getvalue()
    assert "\x1b" not in text
    first, second = text.splitlines()  # whole, though the first is longer than 80 characters
    assert first == "[3/33] maskpro 2:4 alpha=0.97 learning_rate=1.0: 118.9 (mean of 118.9, 118.9, 118.9)"
    assert second.endswith("3 finished")


def test_a_notebook_shows_the_same_lines_with_nothing_that_html_would_read():
    found = snapshot(trial(status="failed", reason="<script>alert(1)</script> & more"), best=[STANDING])
    page = as_html(view_lines(found, width=100))
    assert "<script>" not in page
    bare = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert bare == "\n".join(line.text for line in view_lines(found, width=100))


def test_the_console_of_rich_wraps_no_line_again():
    console = Console(file=io.StringIO(), width=80)
    found = snapshot(trial(1, 0, "running"), best=[STANDING])
    console.print(as_rich(view_lines(found, width=80)))
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [
        line.text for line in view_lines(found, width=80)
    ]
