"""A launch that commit 32ecf56 made is extended, its driver killed in the middle, and resumed. On a real Ray.

Kills at every record of an extension are in ``testing/test_simulated_extensions.py``.
"""

import pytest
from earlier import FINISHED, earlier_launch

from nmlab.platform.testing.real_launches.launched import check_complete, keys, kill_session, wait_until, workers

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
STORE = ("--tracking-uri", "sqlite:///nmlab.db")
MORE = ("--set", "seeds=[0, 1, 2]", "--set", "space.alpha={grid: [0.9, 0.95, 0.99]}")
PLANNED = 2 + 3 * 3


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """The launch after its extension was killed and resumed, and the journal at the kill."""
    nmlab = earlier_launch(tmp_path_factory.mktemp("extended"))
    process = nmlab.start("extend", "old-grid", *MORE, *STORE, "--json")
    nmlab.wait_until(
        lambda: len(set(keys(nmlab.journal(), "ended")) - FINISHED) >= 2, process=process, what="a trial had ended"
    )
    process.kill()
    process.wait()
    wait_until(lambda: not workers(process.pid), seconds=120, what="the replicas to end after their driver")
    kill_session(process.pid)
    before = nmlab.journal()
    printed = nmlab.finish(nmlab.start("resume", "old-grid", "--json"))
    return nmlab, printed, before


def test_every_planned_trial_is_there_once(extended):
    nmlab, printed, before = extended
    assert (printed["status"], printed["counts"]) == ("finished", {"finished": PLANNED})
    check_complete(nmlab, planned=PLANNED)
    since = nmlab.journal()[len(before) :]
    assert not set(keys(before, "ended")) & set(keys(since, "leased")), "a trial that had ended ran again"


def test_both_versions_of_the_study_are_kept(extended):
    nmlab, _, _ = extended
    parent, _ = nmlab.runs()
    assert parent.data.tags["nmlab.study_versions"] == "2"
    changed = parent.data.tags["nmlab.extension.2"]
    assert "space.alpha: {grid: [0.9, 0.99]} -> {grid: [0.9, 0.95, 0.99]}; seeds: [0, 1] -> [0, 1, 2]" in changed
    assert {path.name for path in nmlab.launch.glob("study*.yaml")} == {"study.yaml", "study-2.yaml"}
    report = (nmlab.launch / "report" / "report.md").read_text()
    assert "version 2 of the study" in report
