"""Commands to go on with, ready to copy. Options that differ from the defaults here are written out."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nmlab.platform.api.places import is_usual_folder, is_usual_store, usual_uri


def evaluate_command(target: str, *, tracking_uri: str, results: Path) -> str:
    """Return the command that evaluates a result."""
    return _command("evaluate", target, where=_where(tracking_uri, results))


def export_command(target: str, *, tracking_uri: str, results: Path) -> str:
    """Return the command that writes a result as a Hugging Face folder."""
    folder = f"{Path(target).name or 'model'}-hf"
    return _command("export", target, "--format", "hf", "--output", folder, where=_where(tracking_uri, results))


def launch_argument(folder: Path) -> str:
    """Return the command-line argument that names a launch: its name in the default results folder, else its path."""
    return folder.name if not _where(usual_uri(), folder.parents[1]) else shlex.quote(str(folder))


def print_steps(out: Console, commands: Sequence[str]) -> None:
    """Print commands, one a line, so that each can be copied."""
    for place, command in enumerate(commands):
        out.print(f"{'go on with:' if place == 0 else '':11} {command}", markup=False)


def _command(verb: str, *arguments: str, where: Sequence[str]) -> str:
    return shlex.join(["nmlab", verb, *arguments, *where])


def _where(tracking_uri: str, results: Path) -> list[str]:
    """Return the options that say where the result is; none where a command without them finds it."""
    options = [] if is_usual_store(tracking_uri) else ["--tracking-uri", tracking_uri]
    return options if is_usual_folder(results) else [*options, "--results", str(results)]
