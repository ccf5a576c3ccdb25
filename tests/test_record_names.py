"""Names under which runs are recorded stand in `trials/contract` alone; nobody writes one out a second time."""

import ast
import re
from collections.abc import Iterator
from itertools import permutations

import pytest
from sources import PACKAGES, ROOT

from nmlab.trials.contract import run_artifacts, run_params, run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.run_tags import FrozenWeights, Role

CONTRACT = ROOT / "trials" / "contract"
NO_TAGS = {*PACKAGES, "methods", "metrics", "json", "db"}
"""What may follow ``nmlab.`` and is no tag: packages, groups of entry points, files."""
ORDINARY = {
    *(run_artifacts.REPORT_FOLDER, run_artifacts.QUESTION, run_artifacts.STUDY_FILE),
    *(text for name, text in vars(run_artifacts).items() if name.startswith("HEADER_")),
}
"""Names that are words of their own or names of other things; a user's study is a ``study.yaml`` too."""
NOT_MEANT = {("trials/models/tiny/train.py", run_artifacts.WINDOW_TOKENS)}
"""Another file's key of the same name."""
_TAG = re.compile(r"(?<![\w./])nmlab\.(?P<name>[a-z_]+)")


def _texts(module: object) -> set[str]:
    return {value for name, value in vars(module).items() if name.isupper() and type(value) is str}


MLFLOW_TAGS = {name for name in _texts(run_tags) if name.startswith("mlflow.")}
FILES_AND_ARRAYS = _texts(run_artifacts) - ORDINARY
DOTTED_PARAMS = {name for name in _texts(run_params) if "." in name.rstrip(".")}
VALUES = {
    re.compile(r"(status|phase|\bcounts?)\W*$", re.IGNORECASE): {*TrialStatus, *LaunchStatus},
    re.compile(r"\brole\W*$", re.IGNORECASE): {*Role},
    re.compile(r"\b(frozen|frozen_weights)\W*$", re.IGNORECASE): {*FrozenWeights},
}
"""Words that mean something else elsewhere, by how that ends which they are a value of."""
ANY_VALUE = set().union(*VALUES.values())


def written_names(source: str) -> Iterator[str]:
    """Yield the recorded names that a source file writes out, docstrings apart, with the line of each."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings and _is_name(node.value):
            yield f"{node.lineno}: {node.value}"
        for of, place in _values(node):
            if texts := [text for text in _constants(place) if text.value in ANY_VALUE]:
                values = next((values for end, values in VALUES.items() if end.search(ast.unparse(of))), set())
                yield from (f"{text.lineno}: {text.value}" for text in texts if text.value in values)


def _is_name(text: object) -> bool:
    if not isinstance(text, str):
        return False
    has_tag = any(found["name"] not in NO_TAGS for found in _TAG.finditer(text))
    return has_tag or text in MLFLOW_TAGS | FILES_AND_ARRAYS | DOTTED_PARAMS


def _values(node: ast.AST) -> Iterator[tuple[ast.AST, ast.expr]]:
    """Yield what is compared with something, given under a key or a name, assigned, or counted: of what, and it."""
    match node:
        case ast.Compare():
            yield from permutations([_asked(side) for side in (node.left, *node.comparators)], 2)
        case ast.Dict():
            yield from ((key, value) for key, value in zip(node.keys, node.values, strict=True) if key is not None)
        case ast.keyword(arg=str(name)):
            yield ast.Name(name), node.value
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            yield from zip(targets, values, strict=False)
        case ast.Assign():
            yield from ((target, node.value) for target in node.targets)
        case ast.AnnAssign(value=ast.expr() as value):
            yield node.target, value
        case ast.Call(func=ast.Attribute(attr="count") as counting):
            yield from ((counting, argument) for argument in node.args)


def _asked(side: ast.expr) -> ast.expr:
    """Return the key of ``record["key"]`` and of ``record.get("key", ...)``, anything else as it is."""
    match side:
        case ast.Subscript(slice=key) | ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]):
            return key
    return side


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
        'line.host, line.status = host, "running"',
        'runs.count("diverged")',
        'if tags.get(run_tags.STATUS, "") != "running": pass',
        'status: str = "waiting"',
        'rows[rows["role"] == "search"]',
        'store.begin_trial(spec, role="baseline")',
        'if state.frozen_weights == "mismatch": pass',
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
        'roles = [weight for weight in weights if weight.role != "pruned"]',
        'Column("status", "status")',
        "tags.get(run_tags.STATUS) == TrialStatus.FINISHED",
    ],
)
def test_other_words_are_left_alone(source):
    assert list(written_names(source)) == []
