"""``nmlab plan``: what a study would do, before anything is paid for."""

from typing import Annotated, Any

import typer

from nmlab.platform.cli.options import Json, Set, console, print_json


def plan(
    study: Annotated[str, typer.Argument(help="Name of a study (see `nmlab studies`) or a YAML file.")],
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Check a study against its model and text, and say how many trials it runs on what.

    Example: nmlab plan quickstart --set search.samples=20
    """
    from nmlab.platform.resolve import resolve
    from nmlab.search_spaces import loader

    resolved = resolve(loader.load(study, overrides=overrides or []))
    chosen, facts = resolved.study, resolved.facts
    record: dict[str, Any] = {
        "study": chosen.name,
        "search": f"{chosen.search.algorithm} for {', '.join(chosen.search.metrics)}",
        "configurations": resolved.configurations,
        "seeds": list(chosen.seeds),
        "baseline trials": len(resolved.baselines),
        "trials": resolved.trials,
        "concurrent": chosen.concurrency,
        "replicas": f"{chosen.replica.count} with {chosen.replica.slots} slot(s) each",
        "model": f"{chosen.model.source} ({facts.architecture}), {facts.parameters:,} parameters",
        "prunable": f"{facts.prunable:,} weights in {facts.layers} layers",
        "bytes a replica": facts.model_bytes,
        "evaluation": f"{facts.evaluation_windows} windows of {chosen.data.evaluation.sequence_length} tokens",
        "data digest": facts.data_digest,
    }
    if as_json:
        print_json(record)
        return
    for name, value in record.items():
        console().print(f"{name:16} {value}")
