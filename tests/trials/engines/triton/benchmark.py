"""The benchmark that is meant for a GPU, run through in Triton's interpreter: whole, and without time."""

import json
import signal
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[4] / "benchmarks"


@pytest.fixture
def dry_run(monkeypatch, tmp_path):
    """Run it on the CPU with further options; return its exit code and its record."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import gpu

    def run(*options):
        path = tmp_path / "gpu.json"
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--small", "--json", str(path), *options])
        with pytest.raises(SystemExit) as left:
            gpu.main()
        signal.alarm(0)  # what would cut it off half a minute after its time
        return left.value.code, json.loads(path.read_text())

    return run


@pytest.mark.thorough
def check_that_a_dry_run_takes_every_path_and_finds_everything_right(dry_run):
    code, record = dry_run()
    assert code == 0, record
    assert record["small"]
    assert record["versions"]["triton"]
    assert all(row["holds"] for row in record["correctness"])
    assert record["not done"] == []
    measured = {row["name"]: row["value"] for row in record["timings"]}
    for name in ("auto: step over dense forward", "triton: bytes of state a weight", "official: forward"):
        assert measured[name] > 0
    assert measured["tensors that differ after a checkpoint"] == 0


def check_that_what_was_measured_before_the_time_was_over_is_kept(dry_run):
    """The record is written after every row; nothing is begun after the time, and that is said."""
    code, record = dry_run("--minutes", "0")
    assert code == 1
    assert record["correctness"] == record["timings"] == []
    assert len(record["not done"]) > 40
