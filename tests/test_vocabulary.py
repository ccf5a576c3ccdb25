"""One word for one thing: names that were replaced are not used again. The words are explained in docs/glossary.md.

Names are found by parsing: of modules, classes, functions, methods, arguments and attributes. Strings are not looked
at, since journals, checkpoints and random numbers keep the words that they began with.
"""

# ruff: noqa: SIM905 - lists of words read better as text

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import PACKAGES, ROOT

# Put together from pieces, so that this file does not hold what it looks for.
WORDS = tuple(
    first + rest
    for first, rest in (("cr", "ew"), ("ward", "robe"), ("hol", "low"), ("str", "ayed"), ("he", "ed"), ("ast", "ray"))
)
CLASSES = """
    Hub HubState HubClient HubLost HubLostError HubLink Host Pump Intake News Board Crew ConnectedCrew CrewParty
    CrewLostError Exchange ExchangeActor Party PartyLine Participant PartyOverError Dress Wardrobe Strayed
    Workbench Setting Hop Alive Unheard Alone Proposals GridProposals OptunaProposals
    AcceptedEnds MaskParallelClient WeightsVerified Leaving
""".split()
FUNCTIONS = """
    host_loop start_hub own_hub_link form_crews start_exchange assist_trial keep_up undress take_off whole_file
    reconvene refuse_text run_single summary_lines
""".split()
METHODS = {
    "PipelineGroup": {"tell", "everyone", "deal", "total", "count", "last_tells"},
    "DistributedGroup": {"tell", "everyone", "deal", "total", "count", "last_tells"},
    "Notifier": {"tell"},
    "MaskedModel": {"wear", "undress"},
    "MaskedWeight": {"wear", "take_off"},
    "Method": {"refuse", "refuse_text"},
    "Run": {"extras"},
    "ReplicaContext": {"once"},
    "ResultCache": {"once"},
}
MODULES = """
    hub hub_state hub_client host host_link pump intake news board crew party party_line participant exchange
    parties dress wardrobe strayed workbench hop rehearsal alive killed reach waiting whole_file kept judged
    single resolve targets proposals first_points alike contrasts rivals lines answers beside
""".split()
OLD_PLACES = {"trials/method.py"}
"""Modules that keep an old name for packages of others, for one release."""


def files() -> list[Path]:
    """Return every Python file of the project."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert found
    return [path for path in found if str(path.relative_to(ROOT)) not in OLD_PLACES]


def names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a file uses or defines."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield from (*name.split("."), *([other] if other else []))


_MAY_HOLD_SOME = re.compile(
    rf"\b({'|'.join((*CLASSES, *FUNCTIONS))})\b|(?i:{'|'.join(WORDS)})|\bclass ({'|'.join(METHODS)})\b"
)


def replaced(source: str) -> list[str]:
    """Return the replaced names of a file: classes, functions, methods of their class, and names that hold a word."""
    if not _MAY_HOLD_SOME.search(source):
        return []  # most files; parsing them would take seconds
    tree, old = ast.parse(source), {*CLASSES, *FUNCTIONS}
    found = [name for name in names(tree) if name in old or set(name.lower().strip("_").split("_")) & set(WORDS)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            gone = METHODS.get(node.name, set())
            defined = [item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            found += [f"{node.name}.{name}" for name in defined if name in gone]
    return found


def test_no_replaced_name_is_used():
    found = {
        str(path.relative_to(ROOT)): sorted(set(names))
        for path in files()
        if (names := replaced(path.read_text(encoding="utf-8")))
    }
    assert not found, "the names that stand for these are in docs/glossary.md"


def test_no_module_has_a_replaced_name():
    modules = [path.relative_to(ROOT) for path in files() if path.relative_to(ROOT).parts[0] in PACKAGES]
    assert not [str(path) for path in modules if path.stem in MODULES]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f"class {'Cr' + 'ew'}: ...", ["Cr" + "ew"]),
        (f"from a import {'Hub'} as other", ["Hub"]),
        ("class PipelineGroup:\n    def tell(self): ...", ["PipelineGroup.tell"]),
        ("class Other:\n    def tell(self): ...", []),
        (f"x.{'under'}_{'cr' + 'ew'} = 1", ["under_" + "cr" + "ew"]),
        (f"def f({'ward' + 'robe'}=None): ...", ["ward" + "robe"]),
        ("text = 'hub'", []),
        ("screw = host = 1", []),
    ],
)
def test_the_search_finds_definitions_and_uses(source, expected):
    assert replaced(source) == expected


def test_the_words_are_in_no_text_but_where_they_are_kept():
    """Prose too: docstrings, comments, messages and documentation."""
    kept = {"docs/LOG.md", "CHANGELOG.md"}
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "*.py", "*.md", "*.yaml", "*.toml", "*.jinja"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    found = {}
    for name in listed:
        if name and name not in kept and name != "tests/test_vocabulary.py" and (ROOT / name).is_file():
            words = set("".join(c if c.isalpha() else " " for c in (ROOT / name).read_text("utf-8").lower()).split())
            if hits := words & {*WORDS, *(f"{word}s" for word in WORDS)}:
                found[name] = sorted(hits)
    assert not found
