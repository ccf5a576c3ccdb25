"""The command line as a Typer app."""

from typing import Annotated

import typer

import nmlab
from nmlab.platform.cli.verbs import VerbGroup, add_verbs

app = typer.Typer(
    name="nmlab",
    cls=VerbGroup,
    help="Search and ablate learned N:M sparsity masks on frozen language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_verbs(app)


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
