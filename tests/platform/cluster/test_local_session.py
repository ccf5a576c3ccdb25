"""A local session is closed to others: its token, its folder, its addresses, and an environment that is put back."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmlab.platform.cluster import local_session as sessions
from nmlab.platform.cluster.local_session import (
    LONGEST_BASE,
    base_folder,
    local_session,
    remove_left_behind,
    session_environment,
)


@pytest.fixture
def short(tmp_path_factory, monkeypatch):
    """A folder whose path is short enough for sockets, as TMPDIR."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield name


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_user_reads_the_folder_and_the_token_whatever_the_umask(short):
    before = os.umask(0)
    try:
        with local_session() as given:
            folder = given.parent
            given.chmod(0o777)  # as Ray does
            assert str(folder).startswith(short)
            assert mode(folder) == 0o700
            assert mode(folder / "token") == 0o600
            token = (folder / "token").read_text()
    finally:
        os.umask(before)
    assert len(token) == 64
    assert not folder.exists()


def test_each_session_has_a_token_of_its_own(short):
    with local_session() as folder:
        first = (folder.parent / "token").read_text()
    with local_session() as folder:
        assert (folder.parent / "token").read_text() != first


def test_the_settings_of_another_cluster_are_set_aside_and_put_back(short, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the cluster")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    before = dict(os.environ)
    with local_session() as folder:
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(folder.parent / "token")
        assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN"} & set(os.environ)
        assert (folder.parent / "token").read_text() not in str(dict(os.environ))
    assert dict(os.environ) == before


def test_a_ray_that_is_imported_reads_the_session_and_forgets_it(short, monkeypatch):
    import ray
    from ray._private import services
    from ray._raylet import AuthenticationMode, AuthenticationTokenLoader, get_authentication_mode

    assert not ray.is_initialized()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    loader = AuthenticationTokenLoader.instance()
    with local_session() as folder:
        assert get_authentication_mode() == AuthenticationMode.TOKEN
        assert (folder.parent / "token").read_text() in str(loader.get_token_for_http_header())
        assert services.get_node_ip_address() == "127.0.0.1"
    assert get_authentication_mode() == AuthenticationMode.DISABLED


def test_proxies_are_for_others(tmp_path):
    given = {"http_proxy": "http://proxy:3128", "no_proxy": "example.org, 10.0.0.1", "NO_PROXY": "other.org"}
    prepared = session_environment(given, token=tmp_path)
    assert prepared["no_proxy"] == prepared["NO_PROXY"] == "example.org,10.0.0.1,other.org,localhost,127.0.0.1,::1"
    assert "http_proxy" not in prepared


def test_a_folder_too_long_for_sockets_is_not_taken(tmp_path):
    long = tmp_path / ("x" * LONGEST_BASE)
    long.mkdir()
    assert str(base_folder({"TMPDIR": str(long)})) == "/tmp"
    assert str(base_folder({"TMPDIR": "/var/tmp/"})) == "/var/tmp"
    assert str(base_folder({})) == "/tmp"
    assert str(base_folder({"TMPDIR": "relative"})) == "/tmp"
    assert str(base_folder({"TMPDIR": "/no/such"})) == "/tmp"


def test_the_longest_socket_of_the_longest_folder_fits():
    session = "session_2026-11-29_22-04-35_339153_4194304"
    path = f"{'x' * LONGEST_BASE}/{sessions.PREFIX}12345678/r/{session}/sockets/plasma_store"
    assert len(path) == 107


def test_nowhere_to_go_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(sessions, "_is_writable", lambda folder: False)
    with pytest.raises(
        ValueError, match=r"TMPDIR '/a': .* at most \d+ bytes; .* set TMPDIR to such a folder"
    ) as refused:
        base_folder({"TMPDIR": "/a"})
    assert "\n" not in str(refused.value)


def test_what_a_killed_driver_left_goes_and_what_runs_stays(short):
    hold = "import os, sys, time; from nmlab.platform.cluster.local_session import local_session\n"
    hold += "with local_session() as folder: print(folder.parent, flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    folder = os.path.realpath(process.stdout.readline().strip())
    old = time.time() - 3600
    os.utime(folder, (old, old))
    remove_left_behind()
    assert Path(folder).is_dir()
    process.kill()
    process.wait()
    process.stdout.close()
    remove_left_behind()
    assert not Path(folder).exists()
