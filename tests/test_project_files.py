"""Files about the project itself agree with it: hooks, workflows, targets of make, citation, notice."""

import re
import tomllib

import pytest
import yaml
from documents import ROOT, blocks, prose, shell_commands, site_module

DOCUMENTS = [name for name in site_module("pages").documents(ROOT) if name not in ("CHANGELOG.md", "docs/LOG.md")]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
_VARIABLE = re.compile(r"\w+=")


def targets(words: list[str]) -> set[str]:
    """Return the targets of a call of make, without its options and variables."""
    return {word for word in words if not word.startswith("-") and not _VARIABLE.match(word)}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_targets_of_make_that_exist(document):
    text = text_of(document)
    shell = [block.text for block in blocks(text) if block.language in ("bash", "sh")]
    shell += re.findall(r"`((?:\w+=\S+ )*make [^`]+)`", prose(text))
    named = [target for block in shell for words in shell_commands(block, program="make") for target in targets(words)]
    assert set(named) - TARGETS == set()


def test_documents_name_the_targets_that_everybody_needs():
    text = "\n".join(map(text_of, ("README.md", "CONTRIBUTING.md", "docs/guide.md")))
    assert [name for name in ("demo", "quick", "check", "docs") if f"make {name}" not in text] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_make_and_nothing_else(workflow):
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    words = [words for run in runs for words in shell_commands(run, program="make")]
    assert len(words) == len(runs)
    assert {target for each in words for target in targets(each)} <= TARGETS
    assert all("timeout-minutes" in job for job in jobs.values())


def test_a_workflow_runs_every_check():
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    assert "make check" in text
    assert "make docs" in text


def test_hooks_are_local_and_call_what_is_there():
    repositories = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert [each["repo"] for each in repositories] == ["local"], "a hook that is fetched does not work offline"
    for hook in repositories[0]["hooks"]:
        program, *words = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        assert hook["language"] == "system"
        assert [word for word in words if word.startswith("tests/") and not (ROOT / word).is_file()] == []


def test_issue_forms_ask_for_something():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.stem != "config":
            assert form["name"]
            assert form["description"]
            assert len({field["id"] for field in form["body"]}) == len(form["body"])
            assert all(field["attributes"]["label"] for field in form["body"])


def test_the_citation_is_of_this_version_and_licence():
    cited = yaml.safe_load(text_of("CITATION.cff"))
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert (cited["title"], cited["version"], cited["license"]) == (
        project["name"],
        project["version"],
        project["license"],
    )


def test_the_notice_names_what_is_there_and_all_data_that_ships():
    notice = text_of("NOTICE")
    named = set(re.findall(r"\b((?:[\w-]+/)+(?:[\w-]+\.\w+)?)", notice))
    assert {name for name in named if name.split("/")[0] in ("trials", "reports", "tests", "docs")} >= {
        "trials/models/tiny/",
        "reports/analysis/published/",
        "reports/analysis/claims/",
        "reports/render/templates/report.css",
        "docs/images/",
    }
    own = [name for name in named if (ROOT / name.split("/")[0]).is_dir()]
    assert [name for name in own if not (ROOT / name).exists()] == []
    shipped = {
        path.parent.relative_to(ROOT).as_posix() + "/"
        for package in ("platform", "trials", "search_spaces", "reports")
        for pattern in ("*.safetensors", "*.csv", "*.js", "*.npz", "*.txt", "*.bin", "*.ttf", "*.woff*")
        for path in (ROOT / package).rglob(pattern)
    }
    assert [folder for folder in shipped if folder not in notice] == [], "data that ships is in NOTICE"
