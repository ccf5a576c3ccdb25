"""Sending a study to a cluster: what is sent, the message when it is not accepted, and a real job where one can run."""

import http.server
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from importlib import util
from pathlib import Path

import pytest
import yaml

from nmlab.platform.cluster.submit import package, submit_study, sweep_command
from nmlab.platform.testing.real_launches.launched import kill_session
from nmlab.platform.testing.real_launches.studies import small
from nmlab.search_spaces import loader

pytestmark = pytest.mark.ray

BIN = Path(sys.executable).parent
DASHBOARD = ("aiohttp_cors", "opencensus", "grpc", "prometheus_client", "opentelemetry.exporter.prometheus")


def has(module):
    """Say whether a module is installed; its parent may not be."""
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


STUDY = small(name="sent", fixed={"steps": 2}, space={"alpha": {"grid": [0.9]}}, seeds=[0], baselines=[])


def submit(address, results="/shared"):
    return submit_study(loader.load("quickstart"), address=address, results=results, tracking_uri="sqlite:///x.db")


@pytest.mark.parametrize("address", ["head:6379", "ray://head:10001", "http://", "8265"])
def test_an_address_of_another_form(address):
    with pytest.raises(ValueError, match="expected the dashboard of its head node, for example http"):
        submit(address)


def test_an_address_without_an_answer():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"no Ray cluster answers at 'http://127.0.0.1:{port}': Connection refused"
        ):
            submit(f"http://127.0.0.1:{port}")


def test_a_web_server_that_is_no_ray(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(ValueError, match=f"the server at {address} accepts no Ray jobs") as error:
            submit(address)
        server.shutdown()
    assert "\n" not in str(error.value)


def test_results_must_outlive_the_job():
    with pytest.raises(ValueError, match="results folder 'results': expected an absolute path"):
        sweep_command(results="results", tracking_uri="sqlite:///nmlab.db")


def test_the_command_survives_the_shell():
    command = sweep_command(
        results="/shared folder", tracking_uri="sqlite:////x/nmlab.db", options=("--max-failures", "5")
    )
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "nmlab"]
    assert words[3:] == [
        *("sweep", "study.yaml", "--address", "auto", "--results", "/shared folder"),
        *("--tracking-uri", "sqlite:////x/nmlab.db", "--max-failures", "5"),
    ]


def test_a_python_without_the_dependencies_is_reported():
    with package() as folder:
        done = subprocess.run(
            [sys.executable, "-S", "-m", "nmlab", "sweep", "study.yaml"],  # without installed packages
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "has no typer; start Ray in an environment that has nmlab's dependencies" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_is_sent_is_the_whole_package_and_runs_by_itself(tmp_path):
    """From another folder, found by its path alone, with data files and the models that come along."""
    with package() as folder:
        code = (
            "import nmlab.trials.trial.loop as t, nmlab.platform.cli.app, nmlab.reports.report; "
            "import nmlab.search_spaces.loader as l; "
            "from nmlab.trials.models.sources import BUILTIN; import json; "
            "print(json.dumps([t.__file__, len(l.studies()), BUILTIN['builtin:tiny'].is_dir()]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        file, studies, has_model = json.loads(done.stdout)
        assert file == str(folder / "nmlab" / "trials" / "trial" / "loop.py")
        assert (studies, has_model) == (len(loader.studies()), True)
        assert not list(folder.rglob("__pycache__")) or all(
            "nmlab" in str(path) for path in folder.rglob("__pycache__")
        )
    assert not folder.exists()


@pytest.fixture
def short():
    """A folder of a short name, because Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="nm", dir="/tmp") as folder:
        yield folder


@pytest.fixture
def dashboard(tmp_path, short):
    """The address of the dashboard of a real cluster of one node."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, web = one.getsockname()[1], other.getsockname()[1]
    head = ("--head", "--block", "--port", str(port), "--dashboard-port", str(web), "--include-dashboard", "true")
    size = ("--temp-dir", short, "--num-cpus", "2", "--object-store-memory", "100000000", "--disable-usage-stats")
    with (tmp_path / "ray.txt").open("w") as out:
        process = subprocess.Popen(
            [BIN / "ray", "start", *head, *size],
            env={**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address, deadline = f"http://127.0.0.1:{web}", time.monotonic() + 90
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "ray.txt").read_text()
                time.sleep(1)
        yield address
    finally:
        kill_session(process.pid)
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(not all(map(has, DASHBOARD)), reason="the dashboard, which takes jobs, needs ray[default]")
def test_a_study_sent_to_a_real_cluster_stopped_and_resumed_there(dashboard, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**STUDY, "seeds": [0, 1, 2], "fixed": {"steps": 3000}}))
    results = tmp_path / "shared"
    results.mkdir()

    def nmlab_submit(*arguments):
        done = subprocess.run(
            [BIN / "nmlab", "submit", *arguments, "--address", dashboard, "--results", str(results)],
            cwd=tmp_path,
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        assert "follow it with: ray job logs raysubmit_" in done.stdout
        return done.stdout

    def status():
        (launch,) = (results / "sent").iterdir()
        return launch, json.loads((launch / "status.json").read_text())

    job = re.search(r"raysubmit_\w+", nmlab_submit("study.yaml"))[0]
    wait_until(lambda: list(results.glob("sent/*/status.json")) and status()[1]["counts"].get("running"))
    stop = [BIN / "ray", "job", "stop", job, "--address", dashboard]
    subprocess.run(stop, env={**os.environ, "RAY_AUTH_MODE": "disabled"}, check=True, capture_output=True, timeout=60)
    launch, stopped = status()
    assert stopped["phase"] == "stopped"
    assert stopped["counts"].get("finished", 0) < 3
    nmlab_submit("--resume", launch.name, "--wait")
    assert status()[1]["phase"] == "finished"
    assert status()[1]["counts"] == {"finished": 3}
    assert (results / "nmlab.db").is_file()


def wait_until(condition, *, within=120):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
