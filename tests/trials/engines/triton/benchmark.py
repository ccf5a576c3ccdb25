"""The benchmark that is meant for a GPU, where its time is over before it begins: in Triton's interpreter only."""

import json
import signal
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[4] / "benchmarks"


def check_that_what_was_measured_before_the_time_was_over_is_kept(monkeypatch, tmp_path):
    """The record is written after every row; nothing is begun after the time, and that is said."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import gpu

    options = ["--device", "cpu", "--small", "--minutes", "0", "--json", str(tmp_path / "gpu.json")]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    with pytest.raises(SystemExit) as left:
        gpu.main()
    signal.alarm(0)  # what would cut it off half a minute after its time
    assert left.value.code == 1
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["correctness"] == record["timings"] == []
    assert len(record["not done"]) > 40
