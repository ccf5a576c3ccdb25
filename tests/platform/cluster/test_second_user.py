"""A sweep that another user of the machine tries to get into, and that Ctrl-C ends.

It has pipeline stages, which open ports of their own, and a search with Optuna and early stopping.
"""

import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from gates import Gate

from nmlab.platform.testing.real_launches.launched import Nmlab, kill_session, steps_so_far
from nmlab.platform.testing.real_launches.studies import small

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[3]
STAGES = 2
STUDY = small(
    name="watched",
    method="paced",
    fixed={"steps": 1_000_000},  # it ends by Ctrl-C
    space={"alpha": {"uniform": [0.9, 0.99]}},
    search={"algorithm": "tpe", "samples": 2, "scheduler": "asha"},
    seeds=[0],
    baselines=[],
    replica={"count": 1, "slots": 2, "pipeline_stages": STAGES, "resources": {"cpus": 0.5}},
    intervals={"log_every": 20, "checkpoint_every": 500_000, "evaluate_every": 250_000},
)
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@dataclass
class Interrupted:
    """The sweep, after its end by Ctrl-C.

    Attributes:
        nmlab: its folder.
        found: what another user found and tried meanwhile; None if this process may not become one.
        reached: the step of each trial at Ctrl-C.
        code: the exit code.
        said: what was printed on the standard error.
    """

    nmlab: Nmlab
    found: dict[str, Any] | None
    reached: dict[str, int]
    code: int
    said: str


@pytest.fixture(scope="module")
def second_user():
    """The script that tries everything as another user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import second_user

        yield second_user


@pytest.fixture(scope="module")
def interrupted(new_nmlab, commands, second_user, paced):
    with tempfile.TemporaryDirectory(prefix="second-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # what is closed must be so by nmlab's own doing
        (folder / "open").mkdir()
        (folder / "open").chmod(0o777)
        nmlab = new_nmlab(STUDY["name"], at=folder, commands=commands)
        (folder / "grid.yaml").write_text(yaml.safe_dump(STUDY))
        gate = Gate(folder / "no limits", packages=paced)
        process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report", **gate.environment)
        mark, found = folder / "open" / "mark", None
        try:
            nmlab.wait_until(lambda: len(at_work(nmlab)) == 2, process=process, what="two trials", seconds=600)
            if os.geteuid() == 0:
                found = second_user.tried(process.pid, nmlab.launch, mark=mark)
            reached = at_work(nmlab)
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
        finally:
            kill_session(process.pid)
        found = found and {**found, **second_user.harm(found, mark=mark)}
        yield Interrupted(nmlab, found, reached, code, (folder / "err.txt").read_text())


def at_work(nmlab):
    """Return the last step of each trial that is past its first steps."""
    return {key: step for key, step in steps_so_far(nmlab.journal()).items() if step >= 20}


@ROOT_ONLY
def test_no_port_no_socket_and_no_file_lets_another_user_in(interrupted):
    found = interrupted.found
    assert not found["let_in"]
    assert not found["exposed"], "what listens beyond this machine"
    assert not found["executed"], "a pickle was read"
    assert not found["token_seen"], "in a command line or a file of the launch"
    processes = {entry["process"] for entry in found["ports"]}
    assert {"gcs_server", "raylet", "ray::RayTrainWorker"} <= processes


@ROOT_ONLY
def test_the_token_would_let_in(interrupted):
    assert interrupted.found["with_token"]


@ROOT_ONLY
def test_the_sweep_goes_on_meanwhile(interrupted):
    assert not interrupted.found["lost"]
    assert "replica lost" not in {record["event"] for record in interrupted.nmlab.journal()}


def test_ctrl_c_lets_trials_save_themselves(interrupted):
    """The driver ends by itself, and is not killed after its time."""
    nmlab = interrupted.nmlab
    assert interrupted.code == 1
    assert "were killed" not in interrupted.said
    assert nmlab.status()["phase"] == "stopped"
    ended = {r["key"]: r["result"] for r in nmlab.journal() if r["event"] == "ended"}
    assert len(interrupted.reached) == 2
    for key, reached in interrupted.reached.items():
        result = ended[key]
        assert (result["status"], result["resumable"]) == ("stopped", True)
        assert result["step"] >= reached
        saved = {path.parent.name for path in nmlab.launch.glob(f"trials/{key}/*/checkpoint-{result['step']:09d}.*")}
        assert saved == {f"shard-{rank}-of-{STAGES}" for rank in range(STAGES)}


def test_the_frozen_weights_are_checked_and_the_search_is_kept(interrupted):
    nmlab = interrupted.nmlab
    assert [r["unchanged"] for r in nmlab.journal() if r["event"] == "verified"] == [True]
    assert (nmlab.launch / "optuna.journal").stat().st_size > 0
