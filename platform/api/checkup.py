"""Check whether this machine is ready."""

import importlib
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from nmlab.platform.api.places import results_folder, store_uri
from nmlab.platform.installation.requirements import Verdict, check_extras, check_python, check_requirements
from nmlab.platform.installation.torch_build import check_torch_build


@dataclass(frozen=True)
class Check:
    """One thing that was checked: ``verdict`` is ``"ok"``, ``"warning"`` or ``"failed"``, ``detail`` what was found."""

    name: str
    verdict: Verdict
    detail: str

    def record(self) -> dict[str, str]:
        """Return it as plain JSON, as ``nmlab doctor --json`` prints it."""
        own = asdict(self)
        return {"check": own.pop("name"), **own}


def doctor(*, results: str | Path | None = None, tracking_uri: str | None = None) -> tuple[Check, ...]:
    """Check Python, packages, the build of torch, devices, disk and the tracking store.

    Nothing is raised and nothing is left behind.

    Args:
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        Every check, in order.

    Example:
        >>> import nmlab
        >>> [check.name for check in nmlab.doctor() if check.verdict == "failed"]
        []
    """
    checks: list[tuple[str, Callable[[], tuple[Verdict, str]]]] = [
        ("python", check_python),
        ("packages", _packages),
        ("requirements", check_requirements),
        ("extras", check_extras),
        ("torch build", check_torch_build),
        ("device", _device),
        ("shared memory", _shared_memory),
        ("results folder", lambda: _results(results_folder(results))),
        ("tracking store", lambda: _store(store_uri(tracking_uri))),
        ("shipped model", _shipped_model),
    ]
    found = []
    for name, check in checks:
        try:
            verdict, detail = check()
        except Exception as error:  # every check reports, whatever another one raises
            verdict, detail = "failed", f"{type(error).__name__}: {error}"
        found.append(Check(name, verdict, detail))
    return tuple(found)


def _packages() -> tuple[Verdict, str]:
    names = ("ray", "torch", "transformers", "datasets", "optuna", "mlflow", "pandas")
    for name in names:
        importlib.import_module(name)
    return "ok", ", ".join(f"{name} {version(name)}" for name in names)


def _device() -> tuple[Verdict, str]:
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return "ok", f"{count} GPU(s): {torch.cuda.get_device_name(0)}"
    return "ok", f"CPU with {torch.get_num_threads()} threads; no GPU (large models will be slow)"


def _shared_memory() -> tuple[Verdict, str]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return "warning", "no /dev/shm; Ray will keep its object store on disk"
    free = shutil.disk_usage(folder).free
    return ("ok" if free > 2**28 else "warning"), f"{free / 2**30:.1f} GiB free in /dev/shm"


def _results(results: Path) -> tuple[Verdict, str]:
    folder = results.expanduser().resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    probe = existing / ".nmlab-doctor"
    probe.touch()
    probe.unlink()
    free = shutil.disk_usage(existing).free
    return ("ok" if free > 2**30 else "warning"), f"{folder}: writable, {free / 2**30:.1f} GiB free"


def _store(uri: str) -> tuple[Verdict, str]:
    from nmlab.platform.tracking.address import check_store

    check_store(uri)
    return "ok", uri


def _shipped_model() -> tuple[Verdict, str]:
    from nmlab.trials.models import FrozenModel, ModelSource

    frozen = FrozenModel.load(ModelSource(source="builtin:tiny"))
    prunable = sum(layer.numel for layer in frozen.layers)
    return (
        "ok",
        f"builtin:tiny, {prunable} prunable weights in {len(frozen.layers)} layers, digest {frozen.digest}",
    )
