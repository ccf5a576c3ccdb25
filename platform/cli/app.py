"""All verbs of the command line."""

from collections.abc import Callable
from typing import Annotated

import typer

import nmlab
from nmlab.platform.cli import (
    clean,
    compare,
    diff,
    doctor,
    evaluate,
    export,
    launches,
    methods,
    plan,
    report,
    run,
    scale,
    studies,
    submit,
    ui,
)

app = typer.Typer(
    name="nmlab",
    help="Search and ablate learned N:M sparsity masks on frozen language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_VERBS: dict[str, Callable[..., None]] = {
    "doctor": doctor.doctor,
    "methods": methods.methods,
    "studies": studies.studies,
    "plan": plan.plan,
    "run": run.run,
    "sweep": launches.sweep,
    "resume": launches.resume,
    "status": launches.status,
    "clean": clean.clean,
    "submit": submit.submit,
    "evaluate": evaluate.evaluate,
    "diff": diff.diff,
    "export": export.export,
    "report": report.report,
    "compare": compare.compare,
    "scale": scale.scale,
    "ui": ui.ui,
}

for _name, _verb in _VERBS.items():
    app.command(_name)(_verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(nmlab.__version__)
        raise typer.Exit


@app.callback()
def _nmlab(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Search and ablate learned N:M sparsity masks on frozen language models."""
