"""Help, listings, completion and refusals load none of the libraries that take seconds to import."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from nmlab.platform.cli.verbs import VERBS, load
from nmlab.search_spaces import loader

HEAVY = ("torch", "transformers", "mlflow", "optuna", "ray", "pandas", "scipy", "matplotlib")
CLUSTER = ("--address", "http://localhost:1", "--results", "/nowhere")
FORKS = """
import contextlib, importlib, json, os, sys, traceback

from nmlab.platform.cli import main

heavy, scouts, commands = json.loads(sys.stdin.read())
if os.fork() == 0:
    sys.stdout = sys.stderr = open(os.devnull, "w")
    for arguments in scouts:
        sys.argv = ["nmlab", *arguments]
        try:
            main()
        except SystemExit:
            pass
    with open("loaded.json", "w") as file:
        json.dump(list(sys.modules), file)
    os._exit(0)
assert os.wait()[1] == 0
with open("loaded.json") as file:
    for name in json.load(file):
        if name.partition(".")[0] not in heavy:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
for place, (arguments, environment) in enumerate(commands):
    if os.fork() == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{place}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv, code = ["nmlab", *arguments], 0
        os.environ.update(environment)
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        sys.stderr.flush()
        loaded = [name for name in heavy if name in sys.modules]
        with open(f"{place}.json", "w") as file:
            json.dump([code, loaded], file)
        os._exit(0)
    os.wait()
"""
"""Runs each command in a process of its own, forked from one that has called no command yet.

It has imported what some commands import, so that each need not do so again; what is heavy of it would be found in all.
"""
SCOUTS = (("studies",), ("methods", "maskpro"), ("plan", "quickstart", "--set", "search.sampels=3"), ("run", "maskpr"))

TYPOS = {
    "a typo in a key": ("serach.samples=3", "did you mean 'search'"),
    "a typo in a key below": ("search.sampels=3", "did you mean 'search.samples'"),
    "an unknown method": ("method=maskpr", "unknown method 'maskpr'; did you mean 'maskpro'"),
    "an unknown hyperparameter": ("fixed.stepz=3", "unknown hyperparameter of maskpro 'stepz'; did you mean 'steps'"),
    "a value out of its range": ("fixed.steps=0", "steps = 0"),
    "an unknown initial mask": ("fixed.initial_mask=wand", "unknown initial_mask 'wand'; did you mean 'wanda'"),
    "a pattern that is none": ('pattern="5:4"', "pattern"),
    "a wrong type": ("seeds=many", "seeds"),
    "an override without a value": ("search.samples", "expected key=value"),
    "YAML that cannot be read": ("space.alpha={grid: [", "--set space.alpha"),
    "an entry of the space": ("space.alpha={gird: [0.9]}", "unknown key 'gird'"),
    "more peers than slots": ("replica.mask_parallel=5", "--set replica.mask_parallel=5: 2 replica(s)"),
}
"""An override of the quickstart, and a part of what is said about it."""

OF_RUN = {
    ("run", "maskpr"): "unknown method 'maskpr'; did you mean 'maskpro'",
    ("run", "maskpro", "--set", "stepz=3"): "unknown hyperparameter of maskpro 'stepz'",
    ("run", "maskpro", "--set", "steps=none"): "steps",
    ("run", "maskpro", "--set", "steps"): "expected NAME=VALUE",
    ("run", "proxsparse", "--pattern", "4:8"): "not known for 4:8",
    ("run", "maskllm", "--pattern", "8:16"): "more than max_candidates",
    ("run", "sparsegpt", "--pattern", "2:3"): "block_size = 128 would cut a group",
    ("run", "wanda", "--pattern", "2to4"): "pattern",
    ("run", "wanda", "--dtype", "float64"): "dtype",
    ("run", "wanda", "--samples", "none"): "--samples",
}
"""Refusals of ``nmlab run``, and a part of what is said."""


def _of_studies():
    """Yield what the verbs that take a study refuse, and a part of what each says."""
    for verb, rest in (("plan", ()), ("sweep", ()), ("submit", CLUSTER)):
        for override, said in list(TYPOS.values())[: None if verb == "plan" else 5]:
            yield (verb, "quickstart", *rest, "--set", override), said
        yield (verb, "maskpro-alhpa", *rest), "did you mean 'maskpro-alpha'"
        yield (verb, "nowhere.yaml", *rest), "not found"
        yield (verb, "maskpro-alpha", *rest, "--preset", "ful"), "unknown preset; did you mean 'full'"


OF_NEW = {
    ("new", "My", "--model", "m", "--text", "t"): "name 'My': expected lower-case letters",
    (
        "new",
        "my",
        "--model",
        "m",
        "--text",
        "t",
        "--method",
        "wanda",
    ): "it learns nothing to search for",
    ("new", "my", "--model", "m", "--text", "t", "--budget", "2 hours"): "write 2h",
    ("new", "my", "--model", "m", "--text", "t", "--output", "mine.yaml"): "mine.yaml is there already",
}
"""Refusals of ``nmlab new``, and a part of what is said."""
REFUSED = {**OF_RUN, **OF_NEW, **dict(_of_studies())}
ANSWERED = [
    (),
    ("--help",),
    ("--version",),
    *((verb, "--help") for verb in VERBS),
    ("studies",),
    ("studies", "--json"),
    ("studies", "--schema"),
    *(("studies", name) for name in ("quickstart", "maskpro-alpha", "methods-search")),
    ("methods",),
    ("methods", "--json"),
    *(("methods", name) for name in ("dense", "maskpro")),
]
COMPLETED = {
    "nmlab stud": ["studies"],
    "nmlab sweep --pre": ["--preset"],
    "nmlab methods --js": ["--json"],
    "nmlab plan quick": ["quickstart"],
    "nmlab sweep ./mi": ["./mine.yaml"],
    "nmlab report qui": ["quickstart", "quickstart-20260101-000000", "quickstart-20260202-000000"],
    "nmlab resume quickstart-20260101": ["quickstart-20260101-000000"],
    "nmlab extend quickstart-20260101": ["quickstart-20260101-000000"],
    "nmlab status --results elsewhere oth": ["other", "other-20260101-000000"],
    "nmlab run maskp": ["maskpro"],
    "nmlab new my --method s": ["soft_topn", "susi"],
    "nmlab methods pru": ["pruner_zero"],
    "nmlab sweep maskpro-alpha --preset f": ["full", "full-llama-2-13b"],
    "nmlab plan mine.yaml --preset l": ["large"],
    "nmlab plan quickstart --set search.m": ["search.metric=", "search.mode="],
    "nmlab plan quickstart --set search.al": [
        *(f"search.algorithm={name}" for name in ("grid", "random", "qmc", "tpe", "gp", "nsga2")),
    ],
    "nmlab plan quickstart --set search.samp": ["search.samples=8"],
    "nmlab plan quickstart --set fixed.st": ["fixed.steps=700"],
    "nmlab plan quickstart --set search.scheduler = ": ["asha", "hyperband", "median", "null"],
    "nmlab plan quickstart --set search.algorithm = t": ["tpe"],
    "nmlab plan quickstart --set search.metric = validation/per": ["validation/perplexity"],
    "nmlab plan quickstart --set search.metric = eval/per": [],
    "nmlab plan susi-tokens --set search.metric = eval/per": ["eval/perplexity"],
    "nmlab plan quickstart --set data.evaluation.source = builtin : pyth": ["python-docs"],
    "nmlab run maskpro --set sampler = e": ["event"],
    "nmlab run susi --set straight_through = f": ["false"],
    "nmlab run maskpro --set initial_mask = wan": ["wanda"],
    "nmlab sweep no-such-study --preset x": [],
    "nmlab sweep no-such-study --set search.se": ["search.seed=0"],
}
"""What is typed, as bash splits it into words, and what is offered for the last one."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Return exit code, heavy modules and output of every command of this file."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "mine.yaml").write_text(
        "name: mine\npattern: '2:4'\nmethod: wanda\npresets: {small: {scale: tiny}, large: {scale: tiny}}\n"
    )
    for place in ("results/quickstart/quickstart-20260101-000000", "results/quickstart/quickstart-20260202-000000"):
        (folder / place).mkdir(parents=True)
        (folder / place / "launch.json").touch()
    (folder / "elsewhere" / "other" / "other-20260101-000000").mkdir(parents=True)
    (folder / "elsewhere" / "other" / "other-20260101-000000" / "launch.json").touch()
    commands = [(each, {}) for each in (*ANSWERED, *REFUSED)] + [_completion(words) for words in COMPLETED]
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        input=json.dumps([HEAVY, SCOUTS, commands]),
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for place, (arguments, environment) in enumerate(commands):
        code, loaded = json.loads((folder / f"{place}.json").read_text())
        printed = (folder / f"{place}.out").read_text() + (folder / f"{place}.err").read_text()
        found[environment.get("TYPED", tuple(arguments))] = (code, loaded, printed)
    return found


def _completion(words):
    """Return the command and the environment by which bash asks for completions of the last word."""
    split = words.rstrip().split(" ")
    environment = {"COMP_WORDS": "\n".join(split), "COMP_CWORD": str(len(split) - 1), "TYPED": words}
    return (), {"_NMLAB_COMPLETE": "complete_bash", **environment}


@pytest.mark.parametrize("arguments", ANSWERED, ids=" ".join)
def test_help_and_listings_load_nothing_heavy(ended, arguments):
    code, loaded, printed = ended[arguments]
    assert (code, loaded) == (0 if arguments else 2, []), printed
    assert printed


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_is_wrong_is_said_before_anything_heavy_is_loaded(ended, arguments):
    code, loaded, printed = ended[arguments]
    assert (code, loaded) == (2, []), printed
    assert REFUSED[arguments] in printed


@pytest.mark.parametrize("words", COMPLETED)
def test_completion_loads_nothing_heavy(ended, words):
    code, loaded, printed = ended[words]
    assert (code, loaded) == (0, []), printed
    assert sorted(printed.split()) == sorted(COMPLETED[words])


def test_the_package_loads_nothing_of_its_own():
    assert _python("import nmlab, sys; print([name for name in sys.modules if name.startswith('nmlab.')])") == "[]"


@pytest.mark.slow
def test_a_method_of_another_package_is_loaded_when_it_is_named_or_listed(outside_method):
    """Its module imports torch, as that of any method may."""
    probe = f"; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    read = "from nmlab.trials.methods import registry; "
    path = os.pathsep.join([str(outside_method), os.environ.get("PYTHONPATH", "")])
    unnamed = "assert 'hill_climb' in registry.names(); registry.get('maskpro').configure({})"
    assert _python(read + unnamed + probe, PYTHONPATH=path) == "[]"
    assert "torch" in _python(read + "registry.get('hill_climb')" + probe, PYTHONPATH=path)


@pytest.mark.parametrize("name", VERBS)
def test_the_summary_of_a_verb_is_the_first_paragraph_of_its_docstring(name):
    function = getattr(import_module(f"nmlab.platform.cli.{VERBS[name].module}"), name)
    assert VERBS[name].summary == " ".join(inspect.getdoc(function).split("\n\n")[0].split())
    assert load(name).help == inspect.getdoc(function)


def test_the_studies_that_are_looked_at_have_captions_and_searches():
    """So that no way to show a study is left out above."""
    assert loader.load("maskpro-alpha").reproduces
    assert loader.load("methods-search").search.algorithm != "grid"


def _python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
