"""Tracking stores as they are: which addresses are taken, with which credentials, and what is said of all others."""

import base64
import sqlite3
import sys
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow_servers import HTML, FakeMlflow, always, serving
from typer.testing import CliRunner

from nmlab.platform.tracking.address import absolute_uri, check_store
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.mlflow_access.addresses import shown
from nmlab.reports.read.mlflow_access.connection import connect
from nmlab.reports.read.store import open_store

CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
BASIC = "Basic " + base64.b64encode(b"ada:s3cret").decode()


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch, tmp_path_factory):
    """No credentials, and none in the home folder either."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in (*CREDENTIALS, "DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)


def refusal(uri, *, study=None):
    """Return the one line in which a store is refused."""
    with pytest.raises(ValueError) as raised:
        check_store(uri, study=study)
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


@pytest.mark.parametrize("address", ["http://{}", "HTTP://{}", "http://{}/", "Http://{}//", " http://{} "])
def test_a_server_without_a_health_page_is_taken_however_its_address_is_written(address):
    mlflow = FakeMlflow()
    with serving(mlflow.answer) as host:
        check_store(address.format(host), study="quickstart")
        assert open_store(address.format(host)).uri == absolute_uri(address.format(host)) == f"http://{host}"
    assert mlflow.experiments == {"Default": "0", "quickstart": "1"}
    assert mlflow.tags == {"nmlab.study": "quickstart"}


@pytest.mark.parametrize("address", ["http://{}/teams/mlflow", "HTTP://{}/teams/mlflow/"])
def test_a_server_below_a_path_is_taken(address):
    with serving(FakeMlflow(prefix="/teams/mlflow").answer) as host:
        check_store(address.format(host), study="quickstart")
        assert "no MLflow at this address (404)" in refusal(f"http://{host}")
        assert "no MLflow at this address (404)" in refusal(f"http://{host}/teams")


def test_nothing_is_written_where_no_study_is_named():
    mlflow = FakeMlflow()
    with serving(mlflow.answer) as host:
        check_store(f"http://{host}")
        open_store(f"http://{host}")
    assert mlflow.experiments == {"Default": "0"}
    assert mlflow.tags == {}


def test_a_name_and_password_of_the_environment_are_used(monkeypatch):
    with serving(FakeMlflow(authorization=BASIC).answer) as host:
        assert "asks for a password (401); set MLFLOW_TRACKING_USERNAME" in refusal(f"http://{host}")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        assert "user name, password or token is refused (401)" in refusal(f"http://{host}")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
        check_store(f"http://{host}", study="quickstart")
        open_store(f"http://{host}")


def test_a_name_and_password_of_the_address_are_used_and_never_shown():
    with serving(FakeMlflow(authorization=BASIC).answer) as host:
        check_store(f"http://ada:s3cret@{host}", study="quickstart")
        refused = refusal(f"http://ada:wr0ng@{host}/")
    assert "user name, password or token is refused (401)" in refused
    assert "wr0ng" not in refused
    assert "ada:***@" in refused


def test_a_token_is_used(monkeypatch):
    with serving(FakeMlflow(authorization="Bearer abc").answer) as host:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "wrong")
        assert "token is refused (401)" in refusal(f"http://{host}")
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
        check_store(f"http://{host}", study="quickstart")


def test_a_reader_can_read_and_is_refused_before_a_launch():
    with serving(FakeMlflow(writable=False).answer) as host:
        open_store(f"http://{host}")
        assert "cannot be written: this account may not do that (403)" in refusal(f"http://{host}", study="quickstart")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, HTML, "something else than MLflow's API, such as the login page of a proxy"),
        (200, "OK, fine", "something else than MLflow's API"),
        (200, "[1, 2]", "something else than MLflow's API"),
        (200, "{}", "there is no MLflow at this address"),
        (200, '{"experiments": 7}', "tracking store"),
        (200, '{"experiments": [{"lifecycle_stage": []}]}', "tracking store"),
        (204, "", "tracking store"),
        (400, HTML, "answers with status 400"),
        (401, "", "asks for a password (401)"),
        (401, '{"error_code": "UNAUTHENTICATED", "message": "who\\nare you"}', "asks for a password (401)"),
        (403, HTML, "this account may not do that (403)"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}', "this account may not do that (403)"),
        (404, HTML, "there is no MLflow at this address (404)"),
        (404, '{"detail": "Not Found"}', "Not Found"),
        (405, "", "there is no MLflow at this address (405)"),
        (500, HTML, "500"),
        (502, HTML, "502"),
    ],
)
def test_any_other_answer_is_refused_in_one_line(status, body, expected):
    with serving(always(status, body)) as host:
        assert expected in refusal(f"http://{host}", study="quickstart")


def test_an_unknown_certificate_is_refused_and_can_be_named(tmp_path, monkeypatch):
    certificate = self_signed(tmp_path / "server.pem")
    with serving(FakeMlflow().answer, certificate=certificate) as host:
        refused = refusal(f"https://{host}")
        assert "its TLS certificate is refused (self-signed certificate)" in refused
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in refused
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        check_store(f"https://{host}", study="quickstart")


def test_tls_where_there_is_none_is_refused():
    with serving(FakeMlflow().answer) as host:
        assert "does not speak TLS there; expected http:// instead of https://" in refusal(f"https://{host}")


def self_signed(path: Path) -> Path:
    """Write a key and a certificate for 127.0.0.1 that no authority has signed."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now, names = datetime.now(tz=UTC), x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    own = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *own) + signed.public_bytes(pem))
    return path


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "postgresql+psycopg2://me:s3cret@127.0.0.1:1/db",
            "its driver 'psycopg2' is not installed; try `pip install psycopg2-binary`",
        ),
        (
            "mysql+pymysql://me:s3cret@127.0.0.1:1/db",
            "its driver 'pymysql' is not installed; try `pip install pymysql`",
        ),
        (
            "postgresql://me:s3cret@127.0.0.1:1/db",
            "its driver 'psycopg' is not installed; try `pip install psycopg[binary]`",
        ),
        ("mysql+nothing://me:s3cret@127.0.0.1:1/db", "expected sqlite:///FILE, a database URI"),
        ("postgres://me:s3cret@127.0.0.1/db", "expected postgresql://, not postgres://"),
        ("oracle://me:s3cret@127.0.0.1/db", "expected sqlite:///FILE, a database URI"),
        ("postgresql://me:s3cret@127.0.0.1:port/db", "expected sqlite:///FILE, a database URI"),
        ("databricks", "no credentials of Databricks; set DATABRICKS_HOST"),
        ("databricks://nobody", "no credentials of Databricks"),
        ("DATABRICKS", "no credentials of Databricks"),
        ("databricks-uc", "is a registry of models; expected databricks"),
        ("uc://somewhere", "is a registry of models"),
        ("azureml://westeurope.api.azureml.ms/mlflow", "install azureml-mlflow"),
        ("file:///tmp/mlruns", "a folder of files is no longer developed by MLflow and is not taken"),
        ("FILE:///tmp/mlruns", "a folder of files"),
        (".", "a folder of files"),
        ("runs.db", "did you mean 'sqlite:///runs.db'?"),
        ("sqlite://", "expected sqlite:///FILE"),
        ("sqlite:runs.db", "expected sqlite:///FILE"),
        ("http://me:s3/cret@127.0.0.1", "names no server"),
        ("http:///path", "names no server"),
        ("ftp://somewhere", "expected sqlite:///FILE"),
        ("", "expected sqlite:///FILE"),
    ],
)
def test_every_other_address_is_refused_in_one_line_and_alike_for_reports(uri, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = refusal(uri)
    assert expected in text
    assert "s3cret" not in text
    assert list(tmp_path.iterdir()) == []
    if not uri.startswith("sqlite"):
        with pytest.raises(ReportError) as raised:
            open_store(uri)
        assert str(raised.value) == text


class _RefusedError(Exception):
    """What a driver raises."""


@pytest.fixture
def driver(monkeypatch):
    """A database driver that finds its server and is sent away with the words that a test gives it."""
    module = types.ModuleType("pymysql")
    module.__dict__.update(paramstyle="format", Error=_RefusedError, says="", VERSION=(1, 1, 0), __version__="1.1.0")

    def refuse(**_):
        raise _RefusedError(module.says)

    module.connect = refuse
    for name in ("OperationalError", "InterfaceError", "InternalError", "ProgrammingError", "DatabaseError"):
        setattr(module, name, _RefusedError)
    monkeypatch.setitem(sys.modules, "pymysql", module)
    return module


def test_a_wrong_password_of_a_database_is_refused_at_once(driver):
    driver.says = "Access denied for user 'me'@'localhost' (using password: YES)\nsecond line s3cret"
    with serving(always(200, "")) as host:
        text = refusal(f"mysql+pymysql://me:s3cret@{host}/db")
    assert "does not answer: Access denied for user 'me'@'localhost' (using password: YES)" in text
    assert "s3cret" not in text


def test_a_database_server_that_is_away_is_refused_at_once(driver, closed):
    assert "does not answer: Connection refused" in refusal(f"mysql+pymysql://me:s3cret@127.0.0.1:{closed}/db")


@pytest.fixture
def closed():
    """A port on which nothing listens."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_database_file_of_a_newer_mlflow_is_recorded_before_anything_starts(tracking_uri):
    with sqlite3.connect(tracking_uri.removeprefix("sqlite:///")) as connection:
        connection.execute("update alembic_version set version_num = 'ffffffffffff'")
    connection.close()
    assert "tracking store 'sqlite:///" in refusal(tracking_uri)


@pytest.mark.parametrize(
    "command",
    [
        ["sweep", "quickstart"],
        ["run", "magnitude"],
        ["evaluate", "builtin:tiny", "--record"],
        ["doctor"],
        ["ui"],
        ["report", "quickstart"],
        ["scale", "quickstart", "--groups", "100000"],
        ["compare", "quickstart"],
    ],
)
def test_every_verb_refuses_a_login_page_before_it_starts(command, tmp_path, monkeypatch):
    from nmlab.platform.cli import app

    monkeypatch.chdir(tmp_path)
    with serving(always(200, HTML)) as host:
        done = CliRunner().invoke(app, [*command, "--tracking-uri", f"http://{host}"])
    assert done.exit_code != 0
    assert "such as the login page of a proxy" in done.output + str(done.exception)
    assert list(tmp_path.iterdir()) == []
    if command[0] != "doctor":
        assert isinstance(done.exception, ValueError)


def test_a_password_is_hidden_whatever_it_holds():
    assert shown("postgresql+psycopg2://me:p@ss:w@host/db") == "postgresql+psycopg2://me:***@host/db"
    assert shown("http://me:secret@host/path@at") == "http://me:***@host/path@at"
    assert shown("http://host/path:a@at") == "http://host/path:a@at"


def test_a_client_that_is_returned_has_answered():
    mlflow = FakeMlflow()
    with serving(mlflow.answer) as host:
        assert [found.name for found in connect(f"http://{host}").search_experiments()] == ["Default"]


def test_mlflow_prints_no_address_of_its_own_among_the_results():
    """It would print the password of the address, in the middle of what ``--json`` prints."""
    from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

    assert MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get()
