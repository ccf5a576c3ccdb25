"""A launch that commit 32ecf56 made, and whose driver was killed in mid-sweep.

The archive has the study and its texts, the store with its artifacts, and the launch's folder: two baselines and two
trials have finished, one trial has finished but its end was never received, one had not begun.
"""

import sqlite3
import tarfile
from pathlib import Path

from nmlab.platform.testing.real_launches.launched import Nmlab

ARCHIVE = Path(__file__).parents[1] / "kept" / "launch-32ecf56.tar.xz"
STUDY = "old-grid"
MADE_IN = "/tmp/oldfix"
FINISHED = {"0aa7b6fc8c222069", "00054e83afb17b6d", "de8cfe1da11088fc", "be4c9e20a914ccdb"}
UNRECEIVED = "a5a401532b89a918"


def earlier_launch(folder: Path) -> Nmlab:
    """Copy the launch into a folder; the store knows its new place."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    with sqlite3.connect(folder / "nmlab.db") as database:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (MADE_IN, str(folder)))
    return Nmlab(folder, STUDY)
