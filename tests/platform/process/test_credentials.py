"""A password that was given is used and is found nowhere: not in files, command lines, printed text or commands."""

import http.server
import io
import json
import os
import subprocess
import sys
import threading
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from nmlab.platform.cli import app
from nmlab.platform.cli.options import console, print_json
from nmlab.platform.cluster.submit import sweep_command
from nmlab.platform.failures import reason_line
from nmlab.platform.launches import launch as launches
from nmlab.platform.process.credentials import (
    arguments_without_secrets,
    kept_uri,
    restored_uri,
    split_credentials,
    take_credentials,
)
from nmlab.search_spaces import loader

NAMES = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what the code sets is undone
        monkeypatch.delenv(name)


def credentials():
    return tuple(os.environ.get(name) for name in NAMES[1:])


@pytest.mark.parametrize(
    ("uri", "clean", "found"),
    [
        ("http://host:5000/a", "http://host:5000/a", (None, None, None)),
        ("http://user:pw@host:5000/a", "http://host:5000/a", ("user", "pw", None)),
        ("HTTPS://us%40er:p%2Fw%3A@host", "https://host", ("us@er", "p/w:", None)),
        ("http://u:p@ss@host", "http://host", ("u", "p@ss", None)),
        ("https://token@host", "https://host", (None, None, "token")),
        ("sqlite:///a@b.db", "sqlite:///a@b.db", (None, None, None)),
        ("postgresql://u:pw@db/x", "postgresql://u:pw@db/x", (None, None, None)),
    ],
)
def test_user_and_password_go_where_mlflow_looks(uri, clean, found):
    assert take_credentials(uri) == clean
    assert credentials() == found


@pytest.mark.parametrize("uri", ["http://user:p/w@host", "http://user:p#w@host", "http://user:p?w@host"])
def test_a_password_that_breaks_the_address_is_refused_without_being_shown(uri):
    with pytest.raises(ValueError, match="percent-encoded") as refused:
        split_credentials(uri)
    assert "p/w" not in str(refused.value)
    assert "#w" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_launch_keeps_no_password_and_goes_on_with_one_from_the_environment(tmp_path, monkeypatch):
    uri = take_credentials("http://user:geheim@host:5000")
    launch = launches.create(
        loader.load("quickstart"), results=tmp_path, settings={"tracking_uri": uri, "address": None}
    )
    kept = launch.settings()["tracking_uri"]
    assert kept == "http://user:***@host:5000"
    assert not [path for path in launch.folder.iterdir() if b"geheim" in path.read_bytes()]
    assert restored_uri(kept) == "http://host:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    with pytest.raises(
        ValueError, match=r"'http://user:\*\*\*@host:5000': a launch does not record .* in MLFLOW_TRACKING_P"
    ):
        restored_uri(kept)
    assert restored_uri(kept, given="http://other:new@host:5000") == "http://host:5000"
    assert credentials() == ("other", "new", None)


def test_the_address_of_a_database_is_asked_for_again(monkeypatch):
    kept = kept_uri("postgresql://u:geheim@db/x")
    assert kept == "postgresql://u:***@db/x"
    with pytest.raises(ValueError, match="in MLFLOW_TRACKING_URI, as the whole address"):
        restored_uri(kept)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:geheim@other/x")
    with pytest.raises(ValueError, match="in MLFLOW_TRACKING_URI, as the whole address"):
        restored_uri(kept)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:geheim@db/x")
    assert restored_uri(kept) == "postgresql://u:geheim@db/x"


def test_launches_of_earlier_versions_and_those_without_a_password_go_on():
    assert restored_uri("sqlite:////a/nmlab.db") == "sqlite:////a/nmlab.db"
    assert restored_uri("http://host") == "http://host"
    assert restored_uri("http://user:plain@host") == "http://host"
    assert credentials() == ("user", "plain", None)


@pytest.mark.parametrize("form", [["--tracking-uri", "{}"], ["--tracking-uri={}"]])
@pytest.mark.parametrize("uri", ["http://u:geheim@host", "postgresql://u:geheim@db/x", "https://geheim@host"])
def test_the_command_line_goes_on_without_it(form, uri):
    given = ["-m", "nmlab", "sweep", "a.yaml", *(part.format(uri) for part in form), "--quiet"]
    arguments, environment = arguments_without_secrets(given, {"A": "b"})
    assert arguments == ["-m", "nmlab", "sweep", "a.yaml", "--quiet"]
    assert environment == {"A": "b", "MLFLOW_TRACKING_URI": uri}
    assert arguments_without_secrets(arguments, environment) is None


def test_a_command_line_without_a_password_stays():
    assert arguments_without_secrets(["sweep", "--tracking-uri", "sqlite:///a.db"], {}) is None
    assert arguments_without_secrets(["sweep", "--tracking-uri"], {}) is None


@pytest.mark.parametrize("verb", ["sweep", "resume", "extend"])
@pytest.mark.parametrize("option", [("--notify", "http://host/geheim"), ("--notify=http://host/geheim",)])
def test_the_address_of_notifications_leaves_the_command_line(verb, option):
    arguments, environment = arguments_without_secrets(["-m", "nmlab", verb, "a", *option, "--quiet"], {})
    assert arguments == ["-m", "nmlab", verb, "a", "--quiet"]
    assert environment == {"NMLAB_NOTIFY": "http://host/geheim"}


def test_an_option_that_a_verb_does_not_have_stays_to_be_refused():
    assert arguments_without_secrets(["status", "--notify", "http://host/geheim"], {}) is None
    assert arguments_without_secrets(["sweep", "a", "--notify"], {}) is None
    assert arguments_without_secrets(["sweep", "a", "--notify="], {}) is None


def test_a_job_takes_no_password_along():
    with pytest.raises(ValueError, match=r"'postgresql://u:\*\*\*@db/x': everybody who sees the cluster's jobs"):
        sweep_command(results="/shared", tracking_uri="postgresql://u:geheim@db/x")


def test_what_is_printed_and_why_something_failed(capsys, monkeypatch):
    console().print("at http://u:geheim@host", markup=False)
    console(stderr=True).print("at http://u:geheim@host", markup=False)
    print_json({"uri": "postgresql://u:geheim@db/x"})
    out, err = capsys.readouterr()
    assert out.startswith("at http://u:***@host\n")
    assert "postgresql://u:***@db/x" in out
    assert err == "at http://u:***@host\n"
    assert reason_line(RuntimeError("no answer from http://u:geheim@host")) == "no answer from http://u:***@host"


class Pages(http.server.BaseHTTPRequestHandler):
    """A server that refuses everybody and remembers who asked."""

    asked: ClassVar[list] = []

    def _answer(self):
        self.asked.append(self.headers.get("Authorization"))
        self.send_response(401)
        self.end_headers()

    do_GET = do_POST = _answer

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made.server_address[1]
        made.shutdown()


def test_the_whole_command_uses_the_password_and_shows_it_nowhere(server, tmp_path):
    uri = f"http://nobody:geheim@127.0.0.1:{server}"
    result = CliRunner().invoke(app, ["report", "quickstart", "--tracking-uri", uri, "--output", str(tmp_path / "r")])
    assert result.exit_code
    assert "geheim" not in result.output
    assert "geheim" not in str(result.exception)
    assert f"127.0.0.1:{server}" in str(result.exception)
    assert "Basic bm9ib2R5OmdlaGVpbQ==" in Pages.asked


def test_the_process_list_shows_no_password(tmp_path):
    """The command is started anew; its second self prints how it was called."""
    code = "import sys; from nmlab.platform.api.command import hide_secrets; hide_secrets(); import os, json\n"
    code += "print(json.dumps([open('/proc/self/cmdline').read(), os.environ['MLFLOW_TRACKING_URI']]))"
    uri = "postgresql://u:geheim@db/x"
    command = [sys.executable, "-c", code, "sweep", "--tracking-uri", uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    shown, kept = json.loads(done.stdout)
    assert "geheim" not in shown
    assert shown.endswith("sweep\0")
    assert kept == uri


def test_a_stream_that_is_masked_is_still_that_stream():
    from nmlab.platform.api.consoles import MaskedStream

    inner = io.StringIO()
    stream = MaskedStream(inner)
    stream.write("http://u:geheim@host")
    stream.flush()
    assert inner.getvalue() == "http://u:***@host"
    assert not stream.isatty()
