"""All verbs of the command line."""

from collections.abc import Callable

import typer

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


@app.callback()
def _nmlab() -> None:
    """Search and ablate learned N:M sparsity masks on frozen language models."""
