"""Importing nmlab, any module of it, changes nothing that the rest of the process shares.

What other libraries do when they are imported is not nmlab's: they are imported first, in a fresh process.
"""

import ast
import json
import os
import subprocess
import sys

import pytest
from sources import PACKAGES, ROOT

pytestmark = pytest.mark.slow
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

others, groups = json.loads(sys.stdin.read())
for statement in others:
    try:
        exec(statement, {})
    except ImportError:
        pass  # an extra that is absent
changed = []
for group in groups:
    before = shared()
    for name in group:
        importlib.import_module(name)
    after = shared()
    changed.append({key: [before[key], after[key]] for key in before if before[key] != after[key]})
overrides = sorted(
    f"{each.__module__}.{each.__qualname__}.{name}"
    for module in groups[0]
    for each in vars(sys.modules[module]).values()
    if isinstance(each, type) and each.__module__ == module
    for name in vars(each)
    if name.startswith("_") and not name.startswith("__") and inspect.isfunction(vars(each)[name])
    and any(name in vars(base) for base in each.__mro__[1:] if not base.__module__.startswith(("nmlab.", "enum")))
)
print(json.dumps({"changed": changed, "overrides": overrides}))
"""


def modules():
    """Return the file of every module of nmlab by the module's name."""
    found = {"nmlab": ROOT / "src" / "nmlab" / "__init__.py"}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(("nmlab", *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return {name: path for name, path in found.items() if not name.startswith(KERNELS) or _has_triton()}


def _has_triton():
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def of_others():
    """Return the statements with which the modules of nmlab, when they are imported, import of others."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules().values()]
    return sorted({statement for tree in trees for statement in at_its_import(tree.body)})


def at_its_import(statements):
    """Yield those of some statements, and of what stands in them outside of any function, that import of others."""
    for each in statements:
        match each:
            case ast.Import(names):
                yield from (f"import {alias.name}" for alias in names if not alias.name.startswith("nmlab"))
            case ast.ImportFrom(module, names) if not module.startswith("nmlab"):
                yield from (f"from {module} import {alias.name}" for alias in names)
            case ast.If(ast.Name("TYPE_CHECKING")) | ast.FunctionDef() | ast.AsyncFunctionDef():
                pass
            case _:
                yield from at_its_import(each for each in ast.iter_child_nodes(each) if isinstance(each, ast.stmt))


RUDE = """
import logging, os, random, signal, warnings, torch
os.environ["RUDE"] = "1"
warnings.filterwarnings("ignore", category=BytesWarning, module="rude")
logging.getLogger("optuna").setLevel(1)
logging.getLogger().addHandler(logging.NullHandler())
torch.set_num_threads(3)
torch.rand(1), random.random()
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
os.dup2(os.open(os.devnull, os.O_WRONLY), 0)
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Import all of nmlab after all that it imports of others, and a module that is rude after that."""
    folder = tmp_path_factory.mktemp("rude")
    (folder / "rude.py").write_text(RUDE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [environment.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps([of_others(), [list(modules()), ["rude"]]]),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == "", "an import writes to the standard error"
    return json.loads(done.stdout)


def test_importing_any_module_changes_nothing_that_others_share(imported):
    assert imported["changed"][0] == {}


def test_the_probe_sees_what_a_module_changes(imported):
    """Without this the test above would show nothing."""
    assert set(imported["changed"][1]) >= {
        *("environment", "warnings", "loggers", "threads", "random", "torch random", "signals", "descriptors")
    }


def test_private_methods_of_others_are_overridden_in_compat_alone(imported):
    """The exceptions are abstract where they are declared: what lm-evaluation-harness asks of every model, and what
    asyncio asks of every event loop."""
    compat = ("nmlab.platform.compat.", "nmlab.trials.compat.")
    found = {name for name in imported["overrides"] if not name.startswith(compat)}
    loop = "nmlab.platform.testing.simulation.virtual_loop.VirtualLoop"
    asked = {"nmlab.trials.evaluation.harness.MaskedLM._loglikelihood_tokens"}
    assert found == asked | {f"{loop}._process_events", f"{loop}._write_to_self"}
