"""The origin of a result: code, versions, hardware."""

import json
import os
import platform as machine
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from nmlab.trials.contract import run_tags
from nmlab.trials.methods import registry
from nmlab.trials.sizing.preflight import PreflightFacts

_PACKAGES = ("nmlab", "torch", "ray", "transformers", "datasets", "optuna", "mlflow", "pandas")


@cache
def provenance() -> dict[str, str]:
    """Return the tags with the code, the packages and the machine of a run."""
    commit, dirty = _git_state()
    return {
        run_tags.GIT_COMMIT: commit,
        run_tags.GIT_DIRTY: dirty,
        run_tags.VERSIONS: json.dumps(_versions(), sort_keys=True),
        run_tags.HARDWARE: json.dumps(_hardware(), sort_keys=True),
    }


def facts_tags(facts: PreflightFacts) -> dict[str, str]:
    """Return the tags with the facts on model and text that were known before the start."""
    digests = {run_tags.DATA_DIGEST: facts.data_digest}
    if facts.neutral_digests:
        digests[run_tags.NEUTRAL_DIGESTS] = json.dumps(dict(facts.neutral_digests), sort_keys=True)
    stored = {run_tags.STORED: facts.stored} if facts.stored else {}
    return {**digests, run_tags.COVERAGE: facts.coverage.sentence(), **stored}


def environment() -> dict[str, str]:
    """Return every installed distribution with its version."""
    return {found.metadata["Name"]: found.version for found in sorted(distributions(), key=lambda d: d.name.lower())}


def _versions() -> dict[str, str]:
    found = {"python": machine.python_version()}
    for package in (*_PACKAGES, *registry.packages()):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _hardware() -> dict[str, str | int]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "machine": machine.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory / 2**30),
        "system": machine.platform(terse=True),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else machine.processor() or "unknown"


def _git_state() -> tuple[str, str]:
    """Return commit and dirty flag of the checkout nmlab is imported from; an installed package has neither."""
    here = Path(__file__).resolve().parent
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name, folder=here)
    commit = _git("rev-parse", "HEAD", folder=here)
    if tracked is None or commit is None:  # not a checkout, or installed inside the checkout of another project
        return run_tags.UNKNOWN, run_tags.UNKNOWN
    changes = _git("status", "--porcelain", folder=here)
    return commit, run_tags.UNKNOWN if changes is None else run_tags.flag(bool(changes))


def _git(*arguments: str, folder: Path) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
