"""Commands to go on with, ready to copy. Options that differ from the defaults here are written out."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nmlab.platform.cli.options import DEFAULT_URI


def evaluate_command(target: str, *, tracking_uri: str, results: Path) -> str:
    """Return the command that evaluates a result."""
    return _command("evaluate", target, where=_where(tracking_uri, results))


def export_command(target: str, *, tracking_uri: str, results: Path) -> str:
    """Return the command that writes a result as a Hugging Face folder."""
    folder = f"{Path(target).name or 'model'}-hf"
    return _command("export", target, "--format", "hf", "--output", folder, where=_where(tracking_uri, results))


def launch_argument(folder: Path) -> str:
    """Return the command-line argument that names a launch: its name in the default results folder, else its path."""
    return folder.name if not _where(_usual_uri(), folder.parents[1]) else shlex.quote(str(folder))


def print_steps(out: Console, commands: Sequence[str]) -> None:
    """Print commands, one a line, so that each can be copied."""
    for place, command in enumerate(commands):
        out.print(f"{'go on with:' if place == 0 else '':11} {command}", markup=False)


def _command(verb: str, *arguments: str, where: Sequence[str]) -> str:
    return shlex.join(["nmlab", verb, *arguments, *where])


def _where(tracking_uri: str, results: Path) -> list[str]:
    """Return the options that say where the result is; none where a command without them finds it."""
    from nmlab.platform.tracking.address import absolute_uri

    usual_results = Path(os.environ.get("NMLAB_RESULTS") or "results")
    options = []
    if absolute_uri(tracking_uri) != absolute_uri(_usual_uri()):
        options += ["--tracking-uri", tracking_uri]
    if results.expanduser().resolve() != usual_results.expanduser().resolve():
        options += ["--results", str(results)]
    return options


def _usual_uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
