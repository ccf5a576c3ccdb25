"""Users without a home or a name get both; those who have them keep them."""

import getpass
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nmlab.platform.cluster import home
from nmlab.platform.cluster.home import prepare_home

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def unknown(monkeypatch, tmp_path):
    """This user has no entry in the system's list, no home, and no name."""

    def missing(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", missing)
    monkeypatch.setattr(home, "base_folder", lambda environment: tmp_path)
    for name in ("HOME", *NAMES):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def test_a_user_of_whom_nothing_is_known(unknown):
    prepare_home(os.environ)
    folder = Path(os.environ["HOME"])
    assert folder.parent == unknown
    assert folder.stat().st_mode & 0o777 == 0o700
    assert Path.home() == folder
    assert getpass.getuser() == str(os.getuid())
    before = dict(os.environ)
    prepare_home(os.environ)
    assert dict(os.environ) == before


def test_what_is_there_stays(unknown, monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("USER", "anna")
    before = dict(os.environ)
    prepare_home(os.environ)
    assert dict(os.environ) == before


def test_a_folder_that_another_could_write_is_refused(unknown):
    folder = unknown / f"nmlab-home-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ValueError, match=r"has no home and '.*' is open to others; set HOME"):
        prepare_home(os.environ)


def test_a_folder_that_cannot_be_made_is_an_error(unknown):
    (unknown / f"nmlab-home-{os.getuid()}").write_text("")
    with pytest.raises(ValueError, match="cannot be made; set HOME"):
        prepare_home(os.environ)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root may become another user")
def test_another_process_of_such_a_user():
    """The standard library of this Python may be closed to others, so that it is loaded before."""
    code = "import os, getpass, pathlib, pwd; from nmlab.platform.cluster.home import prepare_home\n"
    code += "os.setgroups([]); os.setresgid(54322, 54322, 54322); os.setresuid(54322, 54322, 54322)\n"
    code += "prepare_home(os.environ); print(pathlib.Path.home(), getpass.getuser())"
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", *NAMES)}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    folder, name = done.stdout.split()
    assert name == "54322"
    assert folder.endswith("nmlab-home-54322")
    Path(folder).rmdir()
