"""``nmlab scale``: propose a search space for a large model from studies on small ones."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.completion import complete_launch
from nmlab.platform.cli.options import DEFAULT_URI, Json, TrackingUri, console, print_json

Studies = Annotated[
    list[str],
    typer.Argument(
        help="Studies of MaskPro on smaller models (their newest launches), launches, or their folders.",
        autocompletion=complete_launch,
    ),
]


def scale(
    studies: Studies,
    *,
    groups: Annotated[
        int | None, typer.Option("--groups", help="How many groups of M weights the larger model has.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Folder of the larger model, in place of --groups; only config.json is read."),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="N:M of the larger model. Default: that of the studies.")
    ] = None,
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Propose logit magnitude, learning rate and steps for a larger model, with uncertainty, as a search space.

    Example: nmlab scale maskpro-logit-magnitude --groups 1600000000
    """
    from nmlab.platform.api import comparing

    found = comparing.scale(studies, groups=groups, model=model, pattern=pattern, tracking_uri=tracking_uri)
    if as_json:
        print_json(asdict(found))
        return
    for sentence in found.sentences:
        console(stderr=True).print(sentence, markup=False)
    typer.echo(found.space, nl=False)
