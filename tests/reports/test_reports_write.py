"""Writing the report: everything there, the same bytes twice, nothing half-written, nothing of the user's lost."""

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import nmlab.reports.report as report_module
from nmlab.reports.read.errors import ReportError
from nmlab.reports.render import html_text, markdown_text
from nmlab.reports.report import write_document, write_report

TABLES = (
    *("claims", "configurations", "cost", "effects", "learned_vs_initial", "pareto", "rivals", "runs", "summary"),
    *("verdict", "winner"),
)
FIGURES = ("loss_residual", "parallel_coordinates", "pareto", "ranking", "sensitivity", "step_cost")
WITHOUT = """
import json
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "ray", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from nmlab.platform.cli import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["nmlab", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
assert not {"torch", "ray", "transformers"} & set(sys.modules), "a report imported what it must do without"
"""


@pytest.fixture(scope="module")
def written(document, tmp_path_factory):
    return write_document(document, output=tmp_path_factory.mktemp("out") / "report")


@pytest.fixture
def built(document, written, monkeypatch):
    """Let what a test writes be built once: these tests are about files."""
    monkeypatch.setattr(report_module, "document_of", lambda *_, **__: document)
    return written


def contents(folder: Path) -> dict[str, str]:
    def text(path: Path) -> str:
        lines = path.read_bytes().decode("latin-1").splitlines()
        return "\n".join(line for line in lines if "Report written" not in line)

    return {path.relative_to(folder).as_posix(): text(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_everything_is_there(written):
    folder = written.html.parent
    names = ["report.html", "report.md", "report.json"]
    names += [f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "tex")]
    names += [f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")]
    assert sorted(contents(folder)) == sorted(names)
    assert written.markdown == folder / "report.md"
    assert [path.name for path in written.tables] == [f"{name}.{kind}" for name in TABLES for kind in ("csv", "tex")]
    assert len(written.figures) == 2 * len(FIGURES)
    assert len(written.headline) == 9
    assert all(sentence in written.markdown.read_text().replace("\\", "") for sentence in written.headline)


def test_a_report_is_headed_by_the_title_and_question_of_its_study(document):
    plain = replace(document, title="", question="")
    titled = replace(document, title="Alpha & <memory>", question="How long?")
    assert "<h1>maskpro-alpha</h1>" in html_text(plain)
    assert '<p class="question">' not in html_text(plain)
    assert "<h1>Alpha &amp; &lt;memory&gt;</h1>" in html_text(titled)
    assert '<p class="question">How long?</p>' in html_text(titled)
    assert "How long?" in markdown_text(titled)


@pytest.mark.slow
def test_same_store_same_bytes_in_another_process_and_neither_torch_nor_ray_is_needed(written, store, tmp_path):
    table = ["--rows", "method,alpha", "--format", "html", "--output", str(tmp_path / "table.html")]
    commands = [["report", "maskpro-alpha", "--output", str(tmp_path / "again")], ["compare", "maskpro-alpha", *table]]
    given = json.dumps([[*command, "--tracking-uri", store.uri] for command in commands])
    changed = {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, given], capture_output=True, text=True, check=False, env=os.environ | changed
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "again") == contents(written.html.parent)
    assert (tmp_path / "again" / "report.html").stat().st_size > 5000
    assert (tmp_path / "table.html").stat().st_size > 5000


def test_an_older_report_is_replaced_whole(built, store, tmp_path):
    output = tmp_path / "report"
    shutil.copytree(built.html.parent, output)
    (output / "tables" / "of_an_older_form.csv").write_text("x")
    (output / "report.html").write_text("old")
    write_report("maskpro-alpha", tracking_uri=store.uri, output=output)
    assert contents(output) == contents(built.html.parent)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", ["notes.md", "tables/mine.xlsx", "figures/old/a.png", "data/a.csv"])
def test_a_folder_with_other_things_is_refused_and_kept(store, tmp_path, name):
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(ReportError, match="is not part of a report; give a new or empty folder"):
        write_report("maskpro-alpha", tracking_uri=store.uri, output=tmp_path / "mine")
    assert path.read_text() == "mine"


@pytest.mark.usefixtures("built")
def test_a_file_in_the_way_is_refused(store, tmp_path):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(ReportError, match="is a file; expected a folder"):
        write_report("maskpro-alpha", tracking_uri=store.uri, output=tmp_path / "report")


@pytest.mark.parametrize("study", ["maskpro-alhpa", "no-such"])
def test_nothing_is_written_for_an_unknown_study(store, tmp_path, study):
    with pytest.raises(ReportError, match="unknown study"):
        write_report(study, tracking_uri=store.uri, output=tmp_path / "deep" / "report")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("built")
def test_a_place_that_cannot_be_written(store, tmp_path):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    with pytest.raises(ReportError, match="can't be written to"):
        write_report("maskpro-alpha", tracking_uri=store.uri, output=tmp_path / "blocked" / "report")


def test_a_failure_halfway_leaves_the_old_report(built, store, tmp_path, monkeypatch):
    output = tmp_path / "report"
    shutil.copytree(built.html.parent, output)

    def full(_table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_module, "latex_text", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write_report("maskpro-alpha", tracking_uri=store.uri, output=output)
    assert contents(output) == contents(built.html.parent)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_failed_move_puts_the_old_report_back(built, store, tmp_path, monkeypatch):
    output = tmp_path / "report"
    shutil.copytree(built.html.parent, output)
    move = Path.replace

    def only_aside(path, target):
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return move(path, target)

    monkeypatch.setattr(Path, "replace", only_aside)
    with pytest.raises(ReportError, match="Input/output error"):
        write_report("maskpro-alpha", tracking_uri=store.uri, output=output)
    assert contents(output) == contents(built.html.parent)


def test_the_report_is_made_without_torch_and_ray():
    folder = Path(report_module.__file__).parent
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    rooms = {name for name in names if name.startswith("nmlab.")}
    assert names - rooms
    assert not {name.split(".")[0] for name in names} & {"torch", "ray"}
    assert all(name.startswith(("nmlab.reports", "nmlab.search_spaces", "nmlab.trials.contract")) for name in rooms)
