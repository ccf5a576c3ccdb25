"""What must hold of a launch of the soak, and what is measured of its driver."""

import os
import statistics
import subprocess
from collections import Counter
from pathlib import Path

from nmlab.platform.testing.real_launches.launched import NMLAB, Nmlab, check_complete, keys, results

REFUSED_S = 300.0
# What a launch may leave in its folder; see docs/architecture.md. Trials' folders are looked into as well.
EXPECTED = {
    *("launch.json", "study.yaml", "environment.json", "status.json", "journal.jsonl", "log.jsonl", "ray.log"),
    *("optuna.journal", "trials", "initial_masks", "ray", "owner.json", "owner.lock"),
}
LITTER = (".partial", ".damaged", ".tmp")


def check(nmlab: Nmlab, reference: dict, *, trials: int) -> None:
    """Raise if something is lost, doubled, different or left over."""
    # If the driver is killed after the last trial and before its replicas check the weights, they are not checked.
    check_complete(nmlab, trials=trials, frozen=("verified", "unverified"))
    ended = Counter(keys(nmlab.journal(), "ended"))
    assert len(ended) == trials, "a trial is missing in the journal"
    assert results(nmlab) == reference, "a result differs from the undisturbed one"
    unexpected = {path.name for path in nmlab.launch.iterdir()} - EXPECTED
    litter = [str(path) for path in (nmlab.launch / "trials").rglob("*") if path.name.endswith(LITTER)]
    assert not [*unexpected, *litter, *left_behind(nmlab)], (unexpected, litter, left_behind(nmlab))


def left_behind(nmlab: Nmlab) -> list[str]:
    """Return the temporary files of a launch, apart from Ray's folder of logs and torch's cache of kernels."""
    names = (path.name for path in (nmlab.folder / "tmp").iterdir())
    return sorted(name for name in names if name != "ray" and not name.startswith("torchinductor_"))


def check_second_owner(nmlab: Nmlab, process, *, variables: dict[str, str]) -> None:
    """Start `nmlab resume` beside the running driver; raise unless it is refused in one line that names the owner."""
    resumed = subprocess.run(
        [NMLAB, "resume", "--json", "--no-report"],
        cwd=nmlab.folder,
        capture_output=True,
        text=True,
        timeout=REFUSED_S,
        check=False,
        env=os.environ | variables,
    )
    if process.poll() is None:  # otherwise the launch had no owner by then
        text = resumed.stderr.strip()
        assert resumed.returncode == 2, (resumed.returncode, resumed.stdout, text)
        assert f"is owned by process {process.pid}" in text, text
        assert len(text.splitlines()) == 1, resumed.stderr


def resident_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def growth(series: list[tuple[float, int]]) -> float | None:
    """Return by how much memory grew from the second quarter of a driver's work to the last, as a ratio.

    Tune and MLflow import more modules in the first seconds; the series of a short-lived driver is too short.
    """
    sizes = [size for _, size in series if size]
    if len(sizes) < 80:
        return None
    quarter = len(sizes) // 4
    return statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter])


def spread(values: list[float]) -> dict[str, float]:
    """Return how many there are, their median and the largest."""
    if not values:
        return {"count": 0}
    median, largest = round(statistics.median(values), 1), round(max(values), 1)
    return {"count": len(values), "median": median, "largest": largest}
