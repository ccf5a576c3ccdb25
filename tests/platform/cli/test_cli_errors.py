"""Bad input: one line that says what was given and what was expected, exit code 2, and nothing half-written."""

from pathlib import Path

import pytest
import yaml

from nmlab.platform import cli
from nmlab.platform.testing.real_launches.studies import SMALL

RUN = ("run", "maskpro", "--set", "steps=4")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a study, a short text and a file that is in the way; nothing else may appear in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("NMLAB_RESULTS", raising=False)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "short.txt").write_text("A few words are no corpus.")
    (tmp_path / "long.txt").write_text("".join(f"Sentence {number} is like no other. " for number in range(800)))
    (tmp_path / "file").write_text("in the way")
    return tmp_path


def nmlab(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return its exit code and what it printed."""
    monkeypatch.setattr("sys.argv", ["nmlab", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0, capsys.readouterr()


def write_study(**changes):
    Path("study.yaml").write_text(yaml.safe_dump({**SMALL, **changes}))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder, monkeypatch, capsys, arguments):
    """Run a command that must be refused, check that it is refused properly, and return its line."""
    before = contents(folder)
    code, printed = nmlab(monkeypatch, capsys, *arguments)
    assert code == 2, printed
    assert printed.out == ""
    assert printed.err.startswith("nmlab: ")
    assert printed.err.count("\n") == 1, "one line, no traceback"
    assert contents(folder) == before
    assert not (folder / "results").exists()
    return printed.err


@pytest.mark.parametrize("verb", ["sweep", "plan"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": {"max_concurent": 1}}, "budget.max_concurent: unknown key; did you mean 'budget.max_concurrent'?"),
        ({"methode": "maskpro"}, "methode: unknown key; did you mean 'method'?"),
        ({"method": "maskpr"}, "unknown method 'maskpr'; did you mean 'maskpro'?"),
        ({"fixed": {"step": 4}}, "unknown hyperparameter of maskpro 'step'; did you mean 'steps'?"),
        ({"pattern": "3:2"}, "pattern '3:2': expected \"N:M\" with 1 <= N <= M <= 32"),
        ({"pattern": "7:13"}, "pattern 7:13: M=13 does not divide the input size of model.layers.0."),
        ({"model": {"source": "./no-such-model"}}, "model folder './no-such-model' does not exist"),
        ({"model": {"source": "builtin:tinny"}}, "unknown model 'builtin:tinny'; did you mean 'builtin:tiny'?"),
        ({"seeds": [1, 1]}, "1 is given twice"),
    ],
)
def test_a_wrong_study_file(folder, monkeypatch, capsys, verb, changes, message):
    write_study(**changes)
    assert message in refused(folder, monkeypatch, capsys, (verb, "study.yaml"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sweep", "quickstrat"), "unknown study 'quickstrat'; did you mean 'quickstart'?"),
        (("sweep", "no-such.yaml"), "study file 'no-such.yaml': not found"),
        (("sweep", "study.yaml", "--set", "seeds"), "'seeds': expected key=value"),
        (
            ("plan", "study.yaml", "--set", "fixed.loss_masks=1", "--set", "fixed.loss_batches=99"),
            "loss_batches = 99: the",
        ),
        (
            ("sweep", "study.yaml", "--set", "search.sample=3"),
            "--set search.sample=3: unknown key; did you mean 'search.samples'?",
        ),
        (("sweep", "study.yaml", "--set", "data.calibration.samples=100000"), "100000 samples were asked"),
        (("sweep", "study.yaml", "--set", "data.calibration.source=short.txt"), "4 samples were asked"),
        (("sweep", "study.yaml", "--set", "data.calibration.source=none.txt"), "data file 'none.txt' does not exist"),
        (("sweep", "study.yaml", "--tracking-uri", "sqlite:///file/nmlab.db"), "cannot be written: Not a directory"),
        (("sweep", "study.yaml", "--tracking-uri", "sqlite:///no/such/folder/x.db"), "cannot be written: No such file"),
        (("sweep", "study.yaml", "--tracking-uri", "sqlite:///short.txt"), "is not an sqlite database"),
        (("sweep", "study.yaml", "--tracking-uri", "runs.db"), "tracking store 'runs.db': expected sqlite:///FILE"),
        (("sweep", "study.yaml", "--tracking-uri", "http://127.0.0.1:9"), "does not answer"),
        (("sweep", "study.yaml", "--results", "file"), "results folder 'file' cannot be written"),
        (("plan", "study.yaml", "--set", "replica.slots=1000000"), "--set replica.slots=1000000: weights 239 kB and"),
        (("sweep", "study.yaml", "--set", "replica.slots=1000000"), "free; slots: "),
        (("resume", "quickstart"), "no launch 'quickstart' in 'results'; studies launched there: none"),
        (("extend", "quickstart"), "no launch 'quickstart' in 'results'; studies launched there: none"),
        (("status",), "no launch in 'results'; studies launched there: none"),
        (("report", "quickstart"), "there is no MLflow store at nmlab.db"),
        (("ui", "quickstart"), "there is no MLflow store at"),
        (("methods", "maskpr"), "unknown method 'maskpr'; did you mean 'maskpro'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_command(folder, monkeypatch, capsys, arguments, message):
    assert message in refused(folder, monkeypatch, capsys, arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "maskpr"), "unknown method 'maskpr'; did you mean 'maskpro'?"),
        (("run", "magnitude", "--set", "steps=4"), "magnitude takes no 'steps'"),
        (("run", "maskpro", "--set", "learning_rat=1"), "did you mean 'learning_rate'?"),
        (
            ("run", "maskpro", "--set", "steps=many"),
            "--set steps=many: maskpro: steps = 'many': expected a whole number",
        ),
        (("run", "maskpro", "--set", "steps"), "--set 'steps': expected NAME=VALUE"),
        (("run", "maskpro", "--set", "initial_mask=wand"), "unknown initial_mask 'wand'; did you mean 'wanda'?"),
        ((*RUN, "--pattern", "3:2"), "pattern '3:2'"),
        ((*RUN, "--pattern", "2/4"), 'did you mean "2:4"?'),
        ((*RUN, "--pattern", "7:13"), "pattern 7:13: M=13 does not divide"),
        ((*RUN, "--model", "./no-such-model"), "model folder './no-such-model' does not exist"),
        ((*RUN, "--model", "."), "holds no config.json"),
        ((*RUN, "--dtype", "float23"), "unknown dtype 'float23'"),
        ((*RUN, "--data", "short.txt"), "128 samples were asked"),
        ((*RUN, "--data", "none.txt"), "data file 'none.txt' does not exist"),
        ((*RUN, "--data", "long.txt", "--evaluation", "long.txt"), "evaluated on what they learned"),
        ((*RUN, "--data", "file"), "data 'file[:80%]'"),
        ((*RUN, "--sequence-length", "100000"), "the model reads at most"),
        ((*RUN, "--column", ""), "--column '': expected text that is not empty"),
        ((*RUN, "--evaluation", "a.txt", "--evaluation-split", " "), "--evaluation-split ' ': expected text"),
        ((*RUN, "--windowing", "roling"), "unknown --windowing 'roling'; did you mean 'rolling'?"),
        (("run", "maskpro", "--set", "loss_masks=1", "--set", "loss_batches=9"), "makes no more than 4 minibatches"),
        ((*RUN, "--tasks", "none.jsonl"), "task file 'none.jsonl' does not exist"),
        pytest.param(
            (*RUN, "--tasks", "arc_esy"), "did you mean 'arc_easy'?", marks=[pytest.mark.slow, pytest.mark.lm_eval]
        ),
        ((*RUN, "--data", "no/such-set", "--split", "train"), "could not be fetched as a dataset"),
        ((*RUN, "--tracking-uri", "sqlite:///file/nmlab.db"), "cannot be written: Not a directory"),
        ((*RUN, "--tracking-uri", "sqlite:///no/such/folder/x.db"), "cannot be written: No such file or directory"),
        ((*RUN, "--results", "file"), "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_run(folder, monkeypatch, capsys, arguments, message):
    assert message in refused(folder, monkeypatch, capsys, arguments)


def test_a_study_with_several_mistakes_names_each_on_a_line(folder, monkeypatch, capsys):
    write_study(budget={"max_concurent": 1}, seeds=[])
    code, printed = nmlab(monkeypatch, capsys, "plan", "study.yaml")
    assert code == 2
    assert "budget.max_concurent" in printed.err
    assert "seeds" in printed.err
    assert printed.err.count("\n") == 2
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("arguments", [("no-such-verb",), ("sweep",), ("sweep", "quickstart", "--no-such-option")])
def test_what_the_parser_refuses_is_bad_input_too(folder, monkeypatch, capsys, arguments):
    code, printed = nmlab(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "Traceback" not in printed.err
    assert "Usage:" in printed.err
    assert contents(folder).keys() == {"study.yaml", "short.txt", "long.txt", "file"}
