"""Tags that say from which code a result comes, read off real git repositories."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from importlib.metadata import version

import pytest

from nmlab.platform.tracking import provenance as source

IDENTITY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def git(folder, *arguments):
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    """A repository with a copy of the module in it, committed."""
    (tmp_path / "platform").mkdir()
    shutil.copyfile(source.__file__, tmp_path / "platform" / "provenance.py")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")  # Python compiles the copy that is imported
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "platform", ".gitignore")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def tags_of(folder):
    """Return the tags as the module's copy in ``folder`` gives them."""
    spec = importlib.util.spec_from_file_location("provenance_copy", folder / "platform" / "provenance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.provenance()


def test_a_clean_checkout_is_named_by_its_commit(checkout):
    tags = tags_of(checkout)
    assert tags["nmlab.git_commit"] == git(checkout, "rev-parse", "HEAD").strip()
    assert tags["nmlab.git_dirty"] == "false"


@pytest.mark.parametrize("change", ["edited", "new"])
def test_a_checkout_with_changes_is_dirty(checkout, change):
    path = checkout / "platform" / ("provenance.py" if change == "edited" else "another.py")
    with path.open("a") as file:
        file.write("\n# not committed\n")
    tags = tags_of(checkout)
    assert tags["nmlab.git_commit"] == git(checkout, "rev-parse", "HEAD").strip()
    assert tags["nmlab.git_dirty"] == "true"


def test_an_environment_inside_another_checkout_is_not_that_checkout(checkout):
    """An installed package often lies in a folder of the user's own repository, which says nothing of nmlab."""
    inside = checkout / ".venv" / "platform"
    inside.mkdir(parents=True)
    shutil.copyfile(source.__file__, inside / "provenance.py")
    tags = tags_of(checkout / ".venv")
    assert (tags["nmlab.git_commit"], tags["nmlab.git_dirty"]) == ("unknown", "unknown")


def test_outside_of_any_checkout_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "platform").mkdir()
    shutil.copyfile(source.__file__, tmp_path / "platform" / "provenance.py")
    tags = tags_of(tmp_path)
    assert (tags["nmlab.git_commit"], tags["nmlab.git_dirty"]) == ("unknown", "unknown")


def test_versions_and_hardware_are_those_of_this_process():
    tags = source.provenance()
    versions, hardware = json.loads(tags["nmlab.versions"]), json.loads(tags["nmlab.hardware"])
    for package in ("nmlab", "torch", "ray", "optuna", "mlflow"):
        assert versions[package] == version(package)
    assert re.fullmatch(r"3\.\d+\.\d+\S*", versions["python"])
    assert hardware["cores"] == os.cpu_count()
    assert hardware["memory_gib"] > 0
    assert hardware["processor"]
