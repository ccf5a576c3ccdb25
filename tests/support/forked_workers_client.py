"""Runs where a raylet sets up a worker: asks for a forked one and ends with it; see `forked_workers`.

A raylet gives the program of the worker and its arguments; one of them holds the worker's own environment variables.
"""

import json
import os
import socket
import sys

CONTEXT = "--serialized-runtime-env-context="
SET_UP = (CONTEXT, "--language=")
"""What Ray's own program for this takes, and the worker does not."""


def ask(door: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Ask for a worker, or for the process that forks it; returns once that worker has ended, or can be asked for."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(door)
        socket.send_fds(connection, [b"-"], [0, 1, 2])
        connection.sendall(json.dumps([arguments, environment]).encode())
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def main(given: list[str]) -> None:
    door, raylet = os.environ["NMLAB_WORKERS_DOOR"], os.environ["RAY_RAYLET_PID"]
    contexts = [json.loads(argument.removeprefix(CONTEXT)) for argument in given if argument.startswith(CONTEXT)]
    added = contexts[0]["env_vars"] if contexts and contexts[0].get("env_vars") else {}
    ask(door, [], dict(os.environ))
    ask(
        f"{door}-{raylet}", [argument for argument in given if not argument.startswith(SET_UP)], {**os.environ, **added}
    )


if __name__ == "__main__":
    main(sys.argv[1:])
