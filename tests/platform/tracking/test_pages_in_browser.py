"""The table that `nmlab ui` opens, as a browser shows it: a real server, and a real Chromium where there is one."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest
from chromium import WAIT_S, chromium_page
from stores import result_of

from nmlab.platform.planning.study_trials import trial_spec

pytestmark = pytest.mark.slow
VALUES = {"maskpro alpha=0.9": (30.0, 32.0), "maskpro alpha=0.97": (20.0, 22.0), "maskpro alpha=0.99": (None,)}
NAMES = "[...document.querySelectorAll('.ag-pinned-left-cols-container a')].map(each => each.innerText)"
HEADERS = "[...document.querySelectorAll('[data-testid^=\"sort-header-\"]')].map(e => e.innerText)"


@pytest.fixture
def launched(reopen, plan_of, tmp_path):
    """A launch with two configurations of two seeds, and one that diverged, the oldest."""
    study, store = plan_of("space={alpha: {choice: [0.9, 0.97, 0.99]}}", "seeds=[0, 1]").study, reopen()
    store.begin({}, {"search.metric": study.search.metrics[0], "search.mode": "min"})
    for words, values in reversed(VALUES.items()):
        for seed, value in enumerate(values):
            point = {"method": "maskpro", "pattern": "2:4", "alpha": float(words.partition("=")[2])}
            spec = trial_spec(study, point, seed=seed)
            store.begin_trial(spec, role="search", tags={}, words=words)
            points = [{"step": step, "time": step, "values": {"train/loss": 4.0 - step}} for step in (1, 2)]
            store.log_points(spec.key, points)
            ended = result_of(spec, "finished" if value else "diverged", metrics={"cost/seconds": 2.0 + seed})
            store.end_trial(ended, folder=tmp_path, objective=value)
    return store


@contextmanager
def served(uri):
    """Yield the addresses that the command prints, and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    code = "from nmlab.platform import cli; cli.main()"
    command = [sys.executable, "-c", code, "ui", "quickstart", "--port", port, "--tracking-uri", uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            yield [process.stdout.readline().rpartition(": ")[2].strip() for _ in range(3)], process
        finally:
            process.terminate()
            process.wait(WAIT_S)


def test_the_table_opens_on_training_runs_with_its_columns_best_first(launched, tracking_uri):
    with chromium_page() as page, served(tracking_uri) as ((runs, means, found), _):
        page.open(runs)
        page.wait_for(f"{NAMES}.length >= 5")
        assert page.evaluate(NAMES) == [
            "maskpro alpha=0.97, seed 0",
            "maskpro alpha=0.97, seed 1",
            "maskpro alpha=0.9, seed 0",
            "maskpro alpha=0.9, seed 1",
            "maskpro alpha=0.99, seed 0",
        ]
        assert {"method", "seed", "objective", "nmlab.status"} <= {*page.evaluate(HEADERS)}
        text = page.evaluate("document.body.innerText")
        assert "Ask questions about your" not in text, "the assistant has opened by itself"
        assert "Model registry" in text, "the pages for language applications have none"
        page.open(means)
        page.wait_for("document.body.innerText.includes('Group: maskpro alpha=0.97')")
        assert page.evaluate("document.body.innerText.includes('seed 0')") is False, "groups begin closed"
        page.open(found)
        page.wait_for("document.body.innerText.includes('Child runs')")
        assert not page.errors


def test_the_server_ends_with_the_command(launched, tracking_uri):
    with served(tracking_uri) as (_, process):
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGHUP)
        assert process.wait(WAIT_S) == 0
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
