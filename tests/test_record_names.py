"""Names under which runs are recorded stand in `trials/contract` alone; nobody writes one out a second time."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmlab.trials.contract import run_artifacts, run_params, run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = ROOT / "trials" / "contract"
PACKAGES = ("platform", "trials", "search_spaces", "reports")
NO_TAGS = {*PACKAGES, "methods", "metrics", "json", "db"}
"""What may follow ``nmlab.`` and is no tag: packages, groups of entry points, files."""
ORDINARY = {run_artifacts.REPORT_FOLDER, run_artifacts.QUESTION, run_artifacts.STUDY_FILE}
"""Names that are words of their own or names of other things; a user's study is a ``study.yaml`` too."""
NOT_MEANT = {("trials/models/tiny/train.py", run_artifacts.WINDOW_TOKENS)}
"""Another file's key of the same name."""
_TAG = re.compile(r"(?<![\w./])nmlab\.(?P<name>[a-z_]+)")
_STATE = re.compile(r"status|phase|\bcounts?\b", re.IGNORECASE)
_KEY = re.compile(r"(status|phase)\W?$", re.IGNORECASE)


def _texts(module: object) -> set[str]:
    return {value for name, value in vars(module).items() if name.isupper() and type(value) is str}


MLFLOW_TAGS = {name for name in _texts(run_tags) if name.startswith("mlflow.")}
FILES_AND_ARRAYS = _texts(run_artifacts) - ORDINARY
DOTTED_PARAMS = {name for name in _texts(run_params) if "." in name.rstrip(".")}
STATUSES = {str(status) for status in (*TrialStatus, *LaunchStatus)}


def written_names(source: str) -> Iterator[str]:
    """Yield the recorded names that a source file writes out, docstrings apart, with the line of each.

    A status is meant where it is compared with something called a status, phase or count, given as one, or counted.
    """
    tree = ast.parse(source)
    comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in comments and _is_name(node.value):
            yield f"{node.lineno}: {node.value}"
        for place in _states(node):
            yield from (f"{text.lineno}: {text.value}" for text in _constants(place) if text.value in STATUSES)


def _is_name(text: object) -> bool:
    if not isinstance(text, str):
        return False
    has_tag = any(found["name"] not in NO_TAGS for found in _TAG.finditer(text))
    return has_tag or text in MLFLOW_TAGS | FILES_AND_ARRAYS | DOTTED_PARAMS


def _states(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions that stand for a status."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if any(_STATE.search(ast.unparse(side)) for side in sides if not isinstance(side, ast.Constant)):
            yield from sides
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from (value for key, value in pairs if key is not None and _KEY.search(ast.unparse(key)))
    elif isinstance(node, ast.keyword) and node.arg is not None and _STATE.fullmatch(node.arg):
        yield node.value
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(_STATE.search(ast.unparse(target)) for target in targets):
            yield node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _STATE.fullmatch(node.func.attr):
        yield from node.args


def _constants(place: ast.expr) -> Iterator[ast.Constant]:
    """Yield a constant, or those of a tuple, list or set."""
    for each in place.elts if isinstance(place, ast.Tuple | ast.List | ast.Set) else (place,):
        if isinstance(each, ast.Constant):
            yield each


def _sources() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.is_relative_to(CONTRACT):
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_recorded_names_are_written_out_in_the_contract_alone():
    found = [
        f"{path}:{name}"
        for path, source in _sources()
        for name in written_names(source)
        if (path, name.partition(": ")[2]) not in NOT_MEANT
    ]
    assert not found, "take them from nmlab.trials.contract (run_tags, run_status, run_artifacts, run_params)"


def test_what_is_not_meant_is_still_there():
    sources = dict(_sources())
    assert [(path, name) for path, name in sorted(NOT_MEANT) if f'"{name}"' not in sources.get(path, "")] == []


@pytest.mark.parametrize(
    "source",
    [
        'tags.get("nmlab.status")',
        'tags["nmlab.brand_new"]',
        "where = f\"tags.`nmlab.launch` = '{name}' and so on\"",
        'client.set_tag(run, "mlflow.parentRunId", parent)',
        'folder / "trial.json"',
        'np.savez(path, **{"window_loss_sum": losses})',
        'params.get("data.evaluation.source")',
        'if result["status"] == "stopped": pass',
        'if trial.status in ("waiting", "running"): pass',
        'result = {"key": key, "status": "failed"}',
        '{run_tags.STATUS: "running"}',
        'ended(status="finished")',
        'rows["status"] = "duplicate"',
        'line.phase = "stopping"',
        'runs.count("diverged")',
    ],
)
def test_a_name_that_is_written_out_is_found(source):
    assert list(written_names(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""The tag nmlab.status of a run, and its trial.json."""',
        'import_module("nmlab.trials.methods.susi")',
        'entry_points(group="nmlab.methods")',
        'uri = "sqlite:///nmlab.db"',
        'Column("finished", "finished", help="runs in the mean")',
        '{TrialStatus.FAILED: "failed", TrialStatus.OOM: "ran out of memory"}',
        'raise ValueError(f"{run} left no trial.json here")',
        'if record["event"] == "verified": pass',
        'if verdict == "failed": pass',
        'Column("status", "status")',
        "tags.get(run_tags.STATUS) == TrialStatus.FINISHED",
    ],
)
def test_other_words_are_left_alone(source):
    assert list(written_names(source)) == []
