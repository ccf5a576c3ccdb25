"""Importing nmlab, any module of it, changes nothing that the rest of the process shares.

What other libraries do when they are imported is not nmlab's: they are imported first, in a fresh process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("platform", "trials", "search_spaces", "reports")
KERNELS = ("nmlab.trials.engines.triton.kernels", "nmlab.trials.engines.triton.launch")
"""Modules that import triton, which reads its settings from the environment when it is imported."""
PROBE = """
import importlib, inspect, json, logging, os, random, signal, sys, warnings

def shared():
    import matplotlib, numpy, torch, transformers
    loggers = {}
    for name in ("", "optuna", "mlflow", "alembic", "ray", "ray.tune.tune", "transformers", "lm_eval", "torch"):
        logger = logging.getLogger(name)
        loggers[name] = (logger.level, [repr(each) for each in logger.handlers], logger.propagate, logger.disabled)
    return {
        "environment": dict(os.environ),
        "warnings": [repr(each) for each in warnings.filters],
        "loggers": loggers,
        "logging disabled": logging.root.manager.disable,
        "descriptors": [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (0, 1, 2)],
        "streams": [id(sys.stdin), id(sys.stdout), id(sys.stderr)],
        "hooks": [repr(sys.excepthook), repr(sys.displayhook), repr(sys.meta_path)],
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch": (str(torch.get_default_dtype()), torch.is_grad_enabled()),
        "random": hash(random.getstate()),
        "numpy": repr(numpy.random.get_state(legacy=False)),
        "torch random": torch.get_rng_state().tolist(),
        "signals": {int(each): repr(signal.getsignal(each)) for each in signal.valid_signals()},
        "umask": (lambda mask: os.umask(mask) and mask)(os.umask(0)),
        "folder": os.getcwd(),
        "path": sys.path,
        "matplotlib": repr(sorted(matplotlib.rcParams.items(), key=str)),
    }

others, own = json.loads(sys.stdin.read())
for name in others:
    try:
        importlib.import_module(name)
    except Exception:
        pass  # it cannot be imported by its name, so what it does is seen below
before = shared()
for name in own:
    importlib.import_module(name)
after = shared()
overrides = sorted(
    f"{each.__module__}.{each.__qualname__}.{name}"
    for module in own
    for each in vars(sys.modules[module]).values()
    if isinstance(each, type) and each.__module__ == module
    for name in vars(each)
    if name.startswith("_") and not name.startswith("__") and inspect.isfunction(vars(each)[name])
    and any(name in vars(base) for base in each.__mro__[1:] if not base.__module__.startswith(("nmlab.", "enum")))
)
print(json.dumps({
    "others": sorted(n for n in sys.modules if not n.startswith(("nmlab", "__main__", "_"))),
    "changed": {key: [before[key], after[key]] for key in before if before[key] != after[key]},
    "overrides": overrides,
}))
"""


def modules():
    """Return the name of every module of nmlab."""
    found = ["nmlab"]
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(("nmlab", *(parts[:-1] if parts[-1] == "__init__" else parts))))
    return [name for name in found if not name.startswith(KERNELS) or _has_triton()]


def _has_triton():
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def probe(others, own):
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps([others, own]),
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == "", "an import writes to the standard error"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def imported():
    """Import all of nmlab after all that it imports of others."""
    return probe(probe([], modules())["others"], modules())


def test_importing_any_module_changes_nothing_that_others_share(imported):
    assert imported["changed"] == {}


def test_the_probe_sees_what_a_module_changes(tmp_path, monkeypatch):
    """Without this the test above would show nothing."""
    (tmp_path / "rude.py").write_text(
        "import logging, os, random, signal, warnings, torch\n"
        "os.environ['RUDE'] = '1'\n"
        "warnings.filterwarnings('ignore', category=BytesWarning, module='rude')\n"
        "logging.getLogger('optuna').setLevel(1)\n"
        "logging.getLogger().addHandler(logging.NullHandler())\n"
        "torch.set_num_threads(3)\n"
        "torch.rand(1), random.random()\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 0)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    changed = set(probe(["optuna"], ["rude"])["changed"])
    assert changed >= {
        *("environment", "warnings", "loggers", "threads", "random", "torch random", "signals", "descriptors")
    }


def test_private_methods_of_others_are_overridden_in_compat_alone(imported):
    """The exceptions are abstract where they are declared: what lm-evaluation-harness asks of every model, and what
    asyncio asks of every event loop."""
    compat = ("nmlab.platform.compat.", "nmlab.trials.compat.")
    found = {name for name in imported["overrides"] if not name.startswith(compat)}
    loop = "nmlab.platform.testing.simulation.simulated_ray._VirtualLoop"
    asked = {"nmlab.trials.evaluation.harness.MaskedLM._loglikelihood_tokens"}
    assert found == asked | {f"{loop}._process_events", f"{loop}._write_to_self"}
