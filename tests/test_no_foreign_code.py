"""Nothing is run that came in a file: no call in the product unpickles a file, or lets a model bring code of its own.

The source is read, so that no path through it is missed; tests/trials/models/test_foreign_models.py tries it.
"""

import ast
from collections.abc import Iterator

import pytest
from sources import PACKAGES, ROOT, dotted

FOLDERS = (*PACKAGES, "examples", "benchmarks")
# What runs code that lies in a file or a text, whatever it is called with.
RUNS = {
    "eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads",
    "dill.load", "dill.loads", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "pandas.read_pickle",
    "pd.read_pickle", "torch.load", "torch.hub.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load",
    "yaml.full_load",
}  # fmt: skip
# Not files: what the stages of a pipeline send each other over connections of their own, and what tests made.
# The reader of studies is a SafeLoader, and called by itself; see the last test.
EXCEPTIONS = {
    "trials/testing/conformance.py": {"pickle.loads"},
    "platform/testing/searcher_conformance.py": {"pickle.loads"},
    "platform/testing/simulation/simulated_ray.py": {"pickle.loads"},
}


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with the dotted name of what is called, and every ``from module import name`` as one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", ast.Call(ast.Name(""), [], [])) for alias in node.names)


def offences(source: str) -> list[str]:
    """Return the names of calls that may run code, or may unpickle, because nobody forbade it."""
    found = []
    for name, call in calls(source):
        last, given = name.rpartition(".")[2], _asked(call)
        loads = name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False"
        transformers = last in ("from_pretrained", "from_config") and not (
            given.get("trust_remote_code") == "False" or given.get(None) == "DATA_ONLY" or "DATA_ONLY" in _spread(call)
        )
        allowed = given.get("allow_pickle") == "True" or given.get("trust_remote_code") == "True"
        if name in RUNS or loads or transformers or allowed:
            found.append(name)
    return found


def _asked(call: ast.Call) -> dict[str | None, str]:
    """Return the arguments of a call that matter, and under None what it spreads."""
    asked = ("allow_pickle", "trust_remote_code", None)
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg in asked}


def _spread(call: ast.Call) -> set[str]:
    return {ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is None}


def test_no_call_runs_what_came_in_a_file():
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 200
    found = {}
    for path in files:
        place = path.relative_to(ROOT).as_posix()
        left = [name for name in offences(path.read_text(encoding="utf-8")) if name not in EXCEPTIONS.get(place, ())]
        if left:
            found[place] = left
    assert not found


def test_every_exception_is_still_needed():
    for place, names in EXCEPTIONS.items():
        assert names <= set(offences((ROOT / place).read_text(encoding="utf-8"))), place


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("pickle.loads(data)", ["pickle.loads"]),
        ("from pickle import loads", ["pickle.loads"]),
        ("def f():\n    return torch.load(path, weights_only=True)", ["torch.load"]),
        ("np.load(path)", ["np.load"]),
        ("np.load(path, allow_pickle=True)", ["np.load"]),
        ("np.load(path, allow_pickle=False)", []),
        ("read(path, allow_pickle=True)", ["read"]),
        ("AutoConfig.from_pretrained(folder)", ["AutoConfig.from_pretrained"]),
        ("AutoConfig.from_pretrained(folder, trust_remote_code=given)", ["AutoConfig.from_pretrained"]),
        ("AutoConfig.from_pretrained(folder, trust_remote_code=False)", []),
        ("AutoConfig.from_pretrained(folder, **more, **DATA_ONLY)", []),
        ("safetensors.torch.load(data); yaml.safe_load(text); json.load(file)", []),
        ("yaml.load(text)", ["yaml.load"]),
        ("ast.literal_eval(text); re.compile(text); model.eval()", []),
    ],
)
def test_the_walk_sees_what_it_should(source, names):
    assert offences(source) == names


def test_what_is_spread_says_no():
    from nmlab.trials.models.sources import DATA_ONLY

    assert DATA_ONLY == {"local_files_only": True, "trust_remote_code": False}


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!python/module:os"])
def test_a_study_cannot_name_python_objects(tag):
    from nmlab.search_spaces.reading import study_yaml
    from nmlab.search_spaces.reading.problems import StudyError

    with pytest.raises(StudyError, match=r"tags .* are not allowed"):
        study_yaml.parse(f"name: {tag} ['true']", source="study.yaml")
