"""A method of another package: with one folder and one line it is found and works like any other method."""

import multiprocessing
import os
import sys
from xml.etree import ElementTree

import pytest

from nmlab.trials.methods import registry
from nmlab.trials.methods.initial_masks import initial_mask_methods

CONFORMANCE = """
from nmlab.trials.testing import MethodConformance

class TestHillClimb(MethodConformance):
    name = "hill_climb"
"""

FAULTS = {
    "test_masks_are_exact": ('return {"train/loss"', 'self._masks[name][0, 0] ^= True; return {"train/loss"'),
    "test_one_seed_gives_one_result": ("(self._context.seed, step,", "(id(self), step,"),
    "test_a_run_goes_on_from": ("self._masks = {name: state[name].clone() for name in self._masks}", "pass"),
    "test_every_step_records": ('"train/accepted", "share"', '"train/rejected", "share"'),
    "test_its_memory_is_what": ("+ sum(bits.numel() for bits in self._initial.values())", "* 2"),
}
"""Tests of the suite, and what each is to find: what the method says, and the fault in its place."""


@pytest.fixture
def rescan():
    """Clear the registry's cache, now and when the test ends."""
    yield registry.rescan
    registry.rescan()


@pytest.fixture
def installed(outside_method, monkeypatch, rescan):
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(outside_method))
        rescan()
        yield
    sys.modules.pop("nmlab_hill_climb", None)


def _offer(folder, line, *, package="nmlab-other"):
    """Install a package that offers a method by one line."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nmlab.methods]\n{line}\n")


def test_an_installed_method_is_found_by_name(installed):
    assert registry.names()[-1] == "hill_climb"
    assert registry.get("hill_climb").learned
    assert registry.package_of("hill_climb") == "nmlab-hill-climb"
    assert registry.package_of("wanda") == "nmlab"
    assert registry.packages() == ("nmlab-hill-climb",)
    assert "hill_climb" not in initial_mask_methods(), "it learns"


def test_where_it_is_not_installed_it_is_not_found(rescan):
    rescan()
    assert "hill_climb" not in registry.names()
    assert registry.packages() == ()


@pytest.fixture(scope="module")
def outcomes(outside_method, tmp_path_factory):
    """Run the suite as an author would, in a process that has the packages on its path: on the method, and on faults.

    Return what became of each test, by the name of its class and its own. Each fault is a copy of the method; of its
    tests those run that are meant for one.
    """
    folder = tmp_path_factory.mktemp("author")
    source, faults = (outside_method / "nmlab_hill_climb.py").read_text(), [CONFORMANCE.splitlines()[1]]
    for number, (right, wrong) in enumerate(FAULTS.values()):
        assert right in source
        faulty = source.replace(right, wrong).replace('"hill_climb"', f'"fault_{number}"')
        (folder / f"fault_{number}.py").write_text(faulty)
        _offer(folder, f"fault_{number} = fault_{number}:METHOD", package=f"nmlab-fault-{number}")
        faults.append(f"class TestFault{number}(MethodConformance):\n    name = 'fault_{number}'\n")
    (folder / "test_hill_climb.py").write_text(CONFORMANCE)
    (folder / "test_faults.py").write_text("\n".join(faults))
    return _pytest(folder, [outside_method, folder], "-k", "TestHillClimb or 2:4-float32 or every_step_records")


@pytest.mark.slow
def test_an_installed_method_passes_the_conformance_suite(outcomes):
    """As its author would run it: a test file of four lines."""
    mine = {test: outcome for test, outcome in outcomes.items() if test.startswith("TestHillClimb::")}
    assert set(mine.values()) == {"passed"}
    assert len(mine) > 35


@pytest.mark.slow
@pytest.mark.parametrize("test", FAULTS)
def test_the_suite_finds_what_is_wrong(outcomes, test):
    """A copy with a fault fails the test of the suite that is meant for it."""
    number = list(FAULTS).index(test)
    failed = [name for name, outcome in outcomes.items() if outcome == "failure"]
    assert any(name.startswith(f"TestFault{number}::{test}") for name in failed)


def _pytest(folder, packages, *options):
    """Run the tests of a folder in a process that has ``packages`` on its path; return what became of each.

    It is forked from this one, which has imported torch already.
    """
    report, printed = folder / "report.xml", folder / "printed.txt"
    command = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options, f"--junitxml={report}", str(folder)]
    process = multiprocessing.get_context("fork").Process(target=_run_pytest, args=(command, packages, printed))
    process.start()
    process.join(280)
    process.kill()
    assert report.exists(), printed.read_text()
    return {
        f"{case.get('classname').rpartition('.')[2]}::{case.get('name')}": case[0].tag if len(case) else "passed"
        for case in ElementTree.parse(report).iter("testcase")
    }


def _run_pytest(command, packages, printed):
    """Run pytest in this process, a forked one, with ``packages`` on its path."""
    with printed.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    os.chdir(printed.parent)
    sys.path[:0] = map(str, packages)
    registry.rescan()
    sys.exit(pytest.main(command))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("wanda = somewhere:METHOD", "two methods are called 'wanda', those of nmlab and nmlab-other"),
        ("mine = no_such_module_here:METHOD", "method 'mine' of nmlab-other cannot be loaded from no_such_module_here"),
        ("mine = math:METHOD", "method 'mine' of nmlab-other cannot be loaded from math:METHOD"),
        ("mine = math:pi", "math:pi is 3.14159.*, expected a Method so named"),
        ("mine = nmlab.trials.methods.wanda:METHOD", "expected a Method so named"),
    ],
)
def test_a_package_that_offers_nonsense_is_named(tmp_path, monkeypatch, rescan, line, message):
    _offer(tmp_path, line)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        rescan()
        with pytest.raises(ValueError, match=message) as refused:
            registry.get("mine")
        assert "\n" not in str(refused.value)


def test_two_packages_with_one_name_are_both_named(tmp_path, monkeypatch, rescan):
    for package in ("nmlab-one", "nmlab-two"):
        _offer(tmp_path, "mine = math:pi", package=package)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        rescan()
        with pytest.raises(ValueError, match="two methods are called 'mine', those of nmlab-one and nmlab-two"):
            registry.names()
