"""The commands ``nmlab`` and ``python`` for shell scripts, each in a process forked from one that has imported nmlab.

Importing torch, transformers and MLflow takes a command five seconds of processor time, which a script of seven
commands pays once here. Ray is left to the command that needs it.

    with forked_commands() as folder:
        subprocess.run(["bash", "script.sh"], env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

COMMANDS = ("nmlab", "python")
_CRASHED = 70
_CLIENT = """#!{python} -SE
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({door!r})
    socket.send_fds(connection, [b"-"], [0, 1, 2])
    connection.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode())
    connection.shutdown(socket.SHUT_WR)
    sys.exit(int(connection.recv(8) or {crashed}))
"""


@contextmanager
def forked_commands() -> Iterator[Path]:
    """Yield a folder with the commands, which work until the block ends; they run one after another."""
    with tempfile.TemporaryDirectory(prefix="commands-") as name:  # the path of a socket is short
        folder = Path(name)
        door = str(folder / "door")
        server = subprocess.Popen([sys.executable, "-P", __file__, door], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            for command in COMMANDS:
                (folder / command).write_text(_CLIENT.format(python=sys.executable, door=door, crashed=_CRASHED))
                (folder / command).chmod(0o755)
            yield folder
        finally:
            server.terminate()
            server.wait()


def serve(door: str) -> None:
    """Run commands until this process is ended, each in a process of its own, in which this function returns."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(door)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                _, files, _, _ = socket.recv_fds(connection, 1, 3)
                received = b"".join(iter(lambda: connection.recv(2**16), b""))  # noqa: B023 - used at once
                child = os.fork()
                if child:
                    for file in files:
                        os.close(file)
                    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    connection.sendall(str(code if code >= 0 else _CRASHED).encode())
                    continue
            for standard, file in enumerate(files):
                os.dup2(file, standard)
                os.close(file)
            arguments, folder, environment = json.loads(received)
            break
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _run(arguments)


def _run(arguments: list[str]) -> None:
    from nmlab.platform import cli

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
    serve(sys.argv[1])
