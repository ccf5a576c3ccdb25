"""What is installed, compared with what metadata requires: of packages made for these tests, and of nmlab itself."""

import sys
from importlib import metadata

import pytest

from nmlab.platform.installation import requirements
from nmlab.platform.installation.requirements import check_extras, check_python, check_requirements, unmet


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts the metadata of a package on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(name, version="1.0", *, requires=()):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")

    return put


def test_versions_are_compared(install):
    install("dep_new", "2.0")
    install("dep_old", "1.4")
    install("dep_build", "2.13.0+cpu")
    requires = ["dep_new>=1,<3", "dep_old>=1.5", "dep_absent", "dep_build==2.13.0", "dep_other; python_version < '3'"]
    install("asker", requires=requires)
    assert unmet("asker") == ["dep_old 1.4, expected >=1.5", "dep_absent is not installed, expected any version"]


def test_an_extra_counts_with_what_it_asks_of_others(install):
    install("inner", requires=["deep>=2; extra == 'most'", "shallow; extra == 'other'"])
    install("asker", requires=["base", "inner[most]; extra == 'more'"])
    assert unmet("asker", extra="more") == ["deep is not installed, expected >=2"]
    install("deep", "2.1")
    assert unmet("asker", extra="more") == []
    assert unmet("asker") == ["base is not installed, expected any version"]


def test_a_package_that_is_not_installed():
    with pytest.raises(metadata.PackageNotFoundError):
        unmet("no-such-package")


def test_what_nmlab_requires_is_installed_here():
    assert check_requirements() == ("ok", "every package is of a version that nmlab accepts")


def test_a_wrong_version_fails(monkeypatch):
    monkeypatch.setattr(requirements.metadata, "requires", lambda name: ["pytest<1", "pytest>=1"])
    verdict, text = check_requirements()
    assert verdict == "failed"
    assert text == f"pytest {metadata.version('pytest')}, expected <1"


def test_a_folder_without_metadata_is_said(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(requirements.metadata, "requires", absent)
    assert [check()[0] for check in (check_requirements, check_extras)] == ["warning", "warning"]


def test_extras_that_are_missing_say_what_they_are_for(monkeypatch):
    monkeypatch.setattr(
        requirements.metadata, "requires", lambda name: ["pytest; extra == 'onnx'", "no-such; extra == 'cluster'"]
    )
    verdict, text = check_extras()
    assert verdict == "ok"
    assert text == "gpu, tasks, onnx, notebook; not installed: cluster (nmlab submit)"


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 10, 13), "failed"), ((3, 11, 0), "ok"), ((3, 13, 9), "ok"), ((3, 14, 0), "warning")],
)
def test_releases_of_python(version, verdict):
    assert check_python(version)[0] == verdict


def test_this_python_is_looked_at():
    assert check_python()[1].startswith(".".join(map(str, sys.version_info[:3])))
