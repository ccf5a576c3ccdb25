"""What nmlab writes is never writable for everybody, whatever the umask; a group that may write keeps that right."""

import os

import pytest

from nmlab.platform import cli


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o775), (0o002, 0o775), (0o022, 0o755), (0o077, 0o700)])
def test_others_never_write(umask, mode, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "app", lambda: (tmp_path / "results").mkdir())
    environment, before = dict(os.environ), os.umask(umask)
    try:
        cli.main()
    finally:
        os.umask(before)
        os.environ.clear()
        os.environ.update(environment)
    assert (tmp_path / "results").stat().st_mode & 0o777 == mode
