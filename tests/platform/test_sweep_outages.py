"""Whole sweeps during which MLflow's store or the disk of the results cannot be written for a while."""

import pytest
from launched import PLANNED, check_complete, keys, kill_session, results, steps_so_far
from outages import disk, fill, read_only

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # minutes only where others use the machine


def at_work(nmlab, process):
    """Wait until two trials are learning."""
    nmlab.wait_until(lambda: len(steps_so_far(nmlab.journal())) == 2, process=process, what="two trials were at work")


def check_as_undisturbed(nmlab, printed, undisturbed):
    assert printed["counts"] == {"finished": PLANNED}
    assert printed["undelivered"] == ""
    check_complete(nmlab, planned=PLANNED)
    assert results(nmlab) == results(undisturbed[0])


def test_a_store_that_is_read_only_for_a_while_delays_no_trial_and_misses_nothing(new_nmlab, undisturbed):
    nmlab = new_nmlab()
    process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report")
    try:
        at_work(nmlab, process)
        with read_only(f"sqlite:///{nmlab.folder / 'nmlab.db'}"):
            ended = len(keys(nmlab.journal(), "ended"))
            nmlab.wait_until(
                lambda: len(keys(nmlab.journal(), "ended")) > ended, process=process, what="a trial ended in the outage"
            )
            trouble = nmlab.wait_until(lambda: nmlab.status()["trouble"], process=process, what="the trouble shown")
            assert trouble.keys() == {"mlflow"}
    except BaseException:
        kill_session(process.pid)
        raise
    check_as_undisturbed(nmlab, nmlab.finish(process), undisturbed)


def test_a_full_disk_is_waited_out(new_nmlab, undisturbed):
    """Trials go on learning without checkpoints, and wait with their artifacts, until the journal can be written."""
    nmlab = new_nmlab()
    with disk(nmlab.folder / "results", size="8m") as folder:
        process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report")
        try:
            at_work(nmlab, process)
            ballast = fill(folder)
            nmlab.wait_until(
                lambda: "waiting for room" in (nmlab.folder / "err.txt").read_text(),
                process=process,
                what="the trouble shown",
            )
            ballast.unlink()
        except BaseException:
            kill_session(process.pid)
            raise
        check_as_undisturbed(nmlab, nmlab.finish(process), undisturbed)
