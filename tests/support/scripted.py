"""A script that sweeps on a Ray of its own, run once for all tests that ask what became of it.

Its study has a method of another package and one initial mask for all trials. It also resumes a launch of an earlier
version, in a Ray task, and extends it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earlier import STUDY as EARLIER
from earlier import earlier_launch

from nmlab.platform.testing.real_launches.launched import Nmlab
from nmlab.platform.testing.real_launches.studies import small

SCRIPT = Path(__file__).with_name("script_on_own_ray.py")
STEPS = 120
ONLY = {"when": {"method": "maskpro"}}
STUDY = small(
    name="scripted",
    calibration={"samples": 16, "batch_size": 8},
    evaluation={"windows": 8},
    method={"grid": ["maskpro", "hill_climb"]},
    fixed={"initial_mask": "gblm"},
    space={"alpha": {"grid": [0.9, 0.99], **ONLY}, "steps": {"grid": [STEPS], **ONLY}},
    baselines=["dense", "gblm"],
    search={"algorithm": "grid"},
    seeds=[0, 1],
    replica={"count": 1, "slots": 2},
    intervals={"log_every": 5, "checkpoint_every": 20},
)
LEARNED = 3 * 2
PLANNED = 2 + LEARNED
_HIDDEN = ("MLFLOW_TRACKING_URI", "NMLAB_RESULTS", "RAY_ADDRESS")


@dataclass(frozen=True)
class Scripted:
    """What the script left.

    Attributes:
        folder: in which it ran, with the store and the results of both launches.
        found: what it found, by what it did (see ``script_on_own_ray.py``).
        printed: its standard output.
    """

    folder: Path
    found: dict[str, Any]
    printed: str

    @property
    def launched(self) -> Nmlab:
        """Its own launch."""
        return Nmlab(self.folder, STUDY["name"])

    @property
    def earlier(self) -> Nmlab:
        """The launch of an earlier version."""
        return Nmlab(self.folder, EARLIER)

    @property
    def places(self) -> dict[str, Any]:
        """The results folder and the store, as arguments."""
        return {"results": self.folder / "results", "tracking_uri": f"sqlite:///{self.folder / 'nmlab.db'}"}


def run_script(folder: Path, *, packages: Path) -> None:
    """Run the script in a folder, with the packages of another folder installed."""
    launch = earlier_launch(folder).launch.name
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN} | {"PYTHONPATH": path}
    with (folder / "printed.txt").open("w") as printed:
        done = subprocess.run(
            [sys.executable, "-P", SCRIPT, json.dumps(STUDY), launch, "found.json"],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"{(folder / 'printed.txt').read_text()}\n{done.stderr}"


def scripted_in(folder: Path) -> Scripted:
    """Return what the script left in a folder."""
    return Scripted(folder, json.loads((folder / "found.json").read_text()), (folder / "printed.txt").read_text())
