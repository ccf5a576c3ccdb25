"""The README of a package names every folder and module at its top, and nothing that does not exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("platform", "trials", "search_spaces", "reports")
READMES = [package for package in PACKAGES if (ROOT / package / "README.md").is_file()]
_NAME = re.compile(r"`([\w./-]+(?:\.py|\.yaml|/))`")


def named(package: str) -> set[str]:
    """Return every path that a README names."""
    return set(_NAME.findall((ROOT / package / "README.md").read_text(encoding="utf-8")))


def parts(package: str) -> set[str]:
    """Return the folders and modules at the top of a package, folders with a slash."""
    found = [path for path in (ROOT / package).iterdir() if path.name != "__pycache__"]
    return {f"{path.name}/" for path in found if path.is_dir()} | {path.name for path in found if path.suffix == ".py"}


def test_the_packages_have_a_readme():
    assert set(PACKAGES) == set(READMES)


@pytest.mark.parametrize("package", READMES)
def test_a_readme_names_every_part_of_its_package(package):
    assert parts(package) - named(package) == set()


@pytest.mark.parametrize("package", READMES)
def test_a_readme_names_nothing_that_is_not_there(package):
    """A path is meant from the package, from the root of the repository, or from a folder of the package."""
    folder = ROOT / package
    places = [folder, ROOT, *(path for path in folder.iterdir() if path.is_dir())]
    assert {name for name in named(package) if not any((place / name).exists() for place in places)} == set()


@pytest.mark.parametrize("package", READMES)
def test_links_of_a_readme_lead_somewhere(package):
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert {link for link in links if "://" not in link and not (ROOT / package / link).exists()} == set()


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [path for package in PACKAGES for path in sorted((ROOT / package).glob("*/**/README.md"))]
PAGES = [page for page in PAGES if page.name != "LOG.md"]  # which tells of files as they were
_PATH = re.compile(r"`((?:[\w-]+/)+[\w-]+\.(?:py|yaml|csv))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_no_module_that_is_not_there(page):
    """A path is meant from the root of the repository, from a package, or from the page's own folder."""
    places = [ROOT, *(ROOT / package for package in PACKAGES), page.parent, page.parent.parent]
    paths = [path for path in _PATH.findall(page.read_text(encoding="utf-8")) if "NAME" not in path]
    assert {path for path in paths if not any((place / path).exists() for place in places)} == set()


INDEXES = [ROOT / "platform" / "README.md", ROOT / "docs" / "architecture.md"]
_ANSWER = re.compile(r"((?:`[\w.]+`(?:,| and)? ?)+)\(`([\w/-]+\.py)`\)")


def answers(page: Path) -> list[tuple[str, str]]:
    """Return the functions and classes that a page's tables name as answers, each with its module."""
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [
        (name, path)
        for row in rows
        for names, path in _ANSWER.findall(row)
        for name in re.findall(r"`([\w.]+)`", names)
    ]


@pytest.mark.parametrize("page", INDEXES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_table_names_as_an_answer_is_defined_in_that_module(page):
    """`Class.method` (`module.py`): the module defines the last part."""
    named = [answer for answer in answers(page) if not answer[0].endswith(".py")]
    assert len(named) >= 8
    missing = []
    for name, path in named:
        module = next(place / path for place in (page.parent, ROOT, ROOT / "platform") if (place / path).is_file())
        parts = "|".join(map(re.escape, name.split(".")))
        found = set(
            re.findall(
                rf"^\s*(?:async def|def|class) ({parts})\b|^({parts}) = ", module.read_text(encoding="utf-8"), re.M
            )
        )
        if set(name.split(".")) - {part for pair in found for part in pair}:
            missing.append((name, path))
    assert not missing
