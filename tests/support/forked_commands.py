"""The commands ``nmlab`` and ``python``, each in a process forked from one that has imported nmlab.

Importing torch, transformers and MLflow takes a command eight seconds of processor time, which all commands of a test
run pay once here. Ray is left to the command that needs it.

    with forked_commands() as commands:
        process = commands.start("sweep", "grid.yaml", cwd=folder, stdout=out, stderr=err, env=os.environ)
        subprocess.run(["bash", "script.sh"], env={**os.environ, "PATH": f"{commands.folder}:{os.environ['PATH']}"})
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parent))
from forked_workers import fork_workers, run_worker

COMMANDS = ("nmlab", "python")
STARTING_RAY = ("sweep", "resume", "extend")
_GIVEN = frozenset(os.environ)
"""The variables that this process was started with; others are set by what it imports."""
_LOOK_SECONDS = 0.05
"""Between two looks whether a command has ended."""
_CLIENT = """#!{python} -SE
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({door!r})
    socket.send_fds(connection, [b"-"], [0, 1, 2])
    connection.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ), False]).encode())
    connection.shutdown(socket.SHUT_WR)
    code = b"".join(iter(lambda: connection.recv(64), b"")).split()[1:]
    sys.exit(int(code[0]) % 256 if code else 70)
"""


class ForkedProcess:
    """A command that was started, in its own session, with what tests use of ``subprocess.Popen``."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._said = connection, b""
        self.returncode: int | None = None
        while b"\n" not in self._said:
            self._said += self._connection.recv(64)
        self.pid = int(self._said.split()[0])

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raises ``subprocess.TimeoutExpired``."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("nmlab", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], timeout)[0]:
            rest = self._said + b"".join(iter(lambda: self._connection.recv(64), b""))
            self._connection.close()
            self.returncode = int(rest.split()[1])
        return self.returncode


@dataclass(frozen=True)
class ForkedCommands:
    """The commands as files of a folder, for the PATH of scripts, and `start`."""

    folder: Path

    def start(
        self, *arguments: str | Path, cwd: Path, stdout: IO[str], stderr: IO[str], env: Mapping[str, str]
    ) -> ForkedProcess:
        """Start ``nmlab`` in its own session."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.folder / "door"))
        with Path(os.devnull).open() as nothing:
            socket.send_fds(connection, [b"-"], [nothing.fileno(), stdout.fileno(), stderr.fileno()])
        given = [["nmlab", *map(str, arguments)], str(cwd), dict(env), True]
        connection.sendall(json.dumps(given).encode())
        connection.shutdown(socket.SHUT_WR)
        return ForkedProcess(connection)


@contextmanager
def forked_commands() -> Iterator[ForkedCommands]:
    """Yield the commands, which work until the block ends."""
    with tempfile.TemporaryDirectory(prefix="commands-") as name:  # the path of a socket is short
        folder = Path(name)
        door = str(folder / "door")
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads do not outlive a fork
        server = subprocess.Popen(
            [sys.executable, "-P", __file__, door], stdout=subprocess.PIPE, text=True, env=one_thread
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            for command in COMMANDS:
                (folder / command).write_text(_CLIENT.format(python=sys.executable, door=door))
                (folder / command).chmod(0o755)
            yield ForkedCommands(folder)
        finally:
            server.terminate()
            server.wait()


def serve(door: str) -> list[str]:
    """Start commands until this process is ended; returns, with its arguments, in the process of each command."""
    running: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(door)
        listener.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener], [], [], _LOOK_SECONDS if running else None)
            _report_ended(running)
            if not ready:
                continue
            connection, _ = listener.accept()
            _, files, _, _ = socket.recv_fds(connection, 1, 3)
            given = json.loads(b"".join(iter(lambda: connection.recv(2**16), b"")))  # noqa: B023 - used at once
            if child := os.fork():
                running[child] = connection
                connection.sendall(f"{child}\n".encode())
                for file in files:
                    os.close(file)
                continue
            for other in (connection, *running.values()):
                other.close()
            break
    return _become(*given, files=files)


def _report_ended(running: dict[int, socket.socket]) -> None:
    """Tell the exit code of each command that has ended to who started it, who may be gone."""
    for child in list(running):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with running.pop(child) as connection:
                try:
                    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                except BrokenPipeError:
                    continue


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], has_session: bool, *, files: list[int]
) -> list[str]:
    """Make this process that of a command, with its session, folder, environment and files; return its arguments."""
    if has_session:
        os.setsid()
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.chdir(folder)
    added = {name: value for name, value in os.environ.items() if name not in _GIVEN}
    os.environ.clear()
    os.environ.update(added | environment)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path and path not in sys.path]
    return arguments


def _run(arguments: list[str], *, folder: Path) -> None:
    from nmlab.platform import cli
    from nmlab.trials.methods import registry

    registry.rescan()  # of the packages on the path of this command
    if arguments[1:2] and arguments[1] in STARTING_RAY and (worker := fork_workers(folder)) is not None:
        run_worker(worker)
        return
    sys.argv = [Path(arguments[0]).name, *arguments[1:]]
    if sys.argv[0] == "nmlab":
        cli.main()
    assert sys.argv == ["python", "-"], "a program on the standard input"
    exec(compile(sys.stdin.read(), "<stdin>", "exec"), {"__name__": "__main__"})


def _import_all() -> None:
    import nmlab
    from nmlab.platform.cli.verbs import VERBS
    from nmlab.reports.read.mlflow_access import library

    for verb in VERBS.values():
        import_module(f"nmlab.platform.cli.{verb.module}")
    for name in ("nmlab.platform.run_one", "nmlab.reports.report", "pandas", "matplotlib.pyplot"):
        import_module(name)
    library.error_type()
    nmlab.load_model("builtin:tiny")


if __name__ == "__main__":
    _import_all()
    door = sys.argv[1]
    _run(serve(door), folder=Path(door).parent)
