"""A public report holds neither the user nor machines nor folders, in any format, and the same numbers."""

from dataclasses import replace

import pytest

import nmlab.reports.report as report_module
from nmlab.reports.read.collect import collect
from nmlab.reports.render.public import Anonymiser
from nmlab.reports.report import write_report

PLANTED = ("alice", "gpu-box-7", "10.1.2.3", "/home/", "/shared", "secret-project", "corp.example")


@pytest.fixture
def hide():
    return Anonymiser(users=("alice", "root"), hosts=("gpu-box-7",))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/alice/models/llama", "llama"),
        ("/home/alice/my models/llama 7b[:80%]", "llama 7b[:80%]"),
        ("~/models/llama", "llama"),
        ("read '/shared/a/text.txt' twice", "read 'text.txt' twice"),
        ("sqlite:////home/alice/nmlab.db", "nmlab.db"),
        ("file:///home/alice/x.json, file:///b/y.json", "x.json, y.json"),
        (r"C:\Users\alice\model", "model"),
        ("on gpu-box-7: 10.1.2.3:6379", "on (host): (host):6379"),
        ("alice@gpu-box-7 and alice@corp.example", "(user)@(host) and (user)@(host)"),
        ("started by alice", "started by (user)"),
        ("http://gpu-box-7:5000/x", "http://(host)/x"),
        ("http://mlflow.corp.example:5000", "http://(host)"),
    ],
)
def test_what_is_left_out(hide, text, shown):
    assert hide.text(text) == shown
    assert hide.text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "eval/perplexity",
        "tokens/s and 3 / 4",
        "meta-llama/Llama-3-8B",
        "builtin:python-docs",
        "http://127.0.0.1:5000/#/experiments/1/runs/0a",
        "https://arxiv.org/abs/2501.00001",
        "maskpro 2:4 at alpha=0.9; torch 2.13.0; the root of it",
        "recall@1",
        "/",
    ],
)
def test_what_stays(hide, text):
    assert hide.text(text) == text


def test_two_folders_of_one_name_stay_two(hide):
    assert [hide.text(path) for path in ("/a/llama", "/b/llama", "/a/llama/")] == ["llama", "llama (2)", "llama"]


@pytest.fixture
def planted(store, monkeypatch):
    """The runs as a careless study would have them: folders, users and hosts in settings, tags, notes and reasons."""

    def with_traces(*arguments, **given):
        runs = collect(*arguments, **given)
        trials = tuple(
            replace(
                trial,
                notes="read /shared/secret-project/text.txt on gpu-box-7",
                reason="10.1.2.3 is gone, says alice@mail.corp.example",
                settings={**trial.settings, "data.calibration.source": f"/home/alice/secret-project/text-{n % 2}"},
            )
            for n, trial in enumerate(runs.trials)
        )
        params = {**runs.launch.params, "model.source": "/home/alice/secret-project/llama", "title": "By alice"}
        tags = {**runs.launch.tags, "mlflow.user": "alice", "nmlab.stored": "float16 in /shared/secret-project/llama"}
        launch = replace(runs.launch, params=params, tags=tags)
        settings = (*runs.settings, "data.calibration.source")
        return replace(runs, launch=launch, trials=trials, settings=settings)

    monkeypatch.setattr(report_module, "collect", with_traces)
    monkeypatch.setattr("socket.gethostname", lambda: "gpu-box-7")
    return store


def texts(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]
    encodings = {".pdf": "latin-1"}  # its own text is plain, what it draws is compressed
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode(encodings.get(path.suffix, "utf-8"))
        for path in files
    }


@pytest.mark.slow
def test_no_format_tells_who_and_where(planted, tmp_path):
    plain = write_report("maskpro-alpha", tracking_uri=planted.uri, output=tmp_path / "plain")
    public = write_report("maskpro-alpha", tracking_uri=planted.uri, output=tmp_path / "public", public=True)
    full, kept = texts(tmp_path / "plain"), texts(tmp_path / "public")
    assert {name for name in PLANTED if any(name in text for text in full.values())} >= {"alice", "/home/", "/shared"}
    assert str(tmp_path.parent) in "".join(full.values()) or "sqlite:" in "".join(full.values())
    for name, text in kept.items():
        assert not [trace for trace in (*PLANTED, planted.uri) if trace in text], name
    assert set(kept) == set(full)
    assert "llama" in kept["report.html"]
    assert [path.name for path in public.figures] == [path.name for path in plain.figures]
    assert full["tables/cost.csv"].replace("/home/alice/secret-project/", "") == kept["tables/cost.csv"]


@pytest.mark.usefixtures("undrawn")
def test_numbers_of_a_public_report_are_written_as_in_the_plain_one(store, writer, trial, tmp_path):
    """Whole numbers as settings too, which pandas would hold as numbers of its own."""
    runs = [
        trial("maskpro", seed, 70.0 + steps / 100 + seed, 99.0, {"steps": str(steps), "alpha": alpha}, residual=[0.0])
        for steps, alpha in ((10, "0.9"), (20, "0.99"))
        for seed in range(2)
    ]
    writer.launch("whole-numbers", runs, name="whole-numbers-1")
    for name, public in (("plain", False), ("public", True)):
        write_report("whole-numbers", tracking_uri=store.uri, output=tmp_path / name, public=public)
    plain, kept = (texts(tmp_path / name) for name in ("plain", "public"))
    for name in ("tables/configurations.csv", "tables/configurations.tex", "tables/runs.csv"):
        assert kept[name] == plain[name]
    assert "steps" in plain["tables/configurations.csv"].partition("\n")[0]
