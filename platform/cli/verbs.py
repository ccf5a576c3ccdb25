"""The verbs of the command line in one table, with their summaries: listing them imports none of their modules."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True)
class Verb:
    """Where a verb is defined, a function of its own name, and the first paragraph of its docstring."""

    module: str
    summary: str


VERBS = {
    "doctor": Verb(
        "doctor",
        "Check Python, packages, the build of torch, devices, disk and the tracking store.",
    ),
    "methods": Verb(
        "methods",
        "List all methods, including those of installed packages, or explain one with its hyperparameters.",
    ),
    "studies": Verb(
        "studies",
        "List the studies that come with nmlab, or show one with its presets: what it asks, reproduces and costs.",
    ),
    "new": Verb(
        "new",
        "Write a commented study for a model and a text: what fits here, and ranges that worked at that size.",
    ),
    "plan": Verb(
        "plan",
        "Check a study against its model, text and machine; show its trials, and its memory, time and disk.",
    ),
    "run": Verb(
        "run",
        "Run one configuration in this process, without a cluster, and record it in MLflow (experiment `runs`).",
    ),
    "sweep": Verb(
        "launches",
        "Run every trial of a study on shared frozen models, record the trials in MLflow, and write the report.",
    ),
    "resume": Verb(
        "launches",
        "Continue a launch that was stopped or killed; each interrupted trial continues from its checkpoint.",
    ),
    "extend": Verb(
        "launches",
        "Add to a launch: more configurations, seeds or baselines, another space, other limits; then run what is new.",
    ),
    "status": Verb(
        "launches",
        "Show a launch, running or ended: replicas, trials, losses, failures, and how often the model was loaded.",
    ),
    "clean": Verb("clean", "List what can be deleted of launches, in bytes; with --yes, delete it."),
    "submit": Verb(
        "submit",
        "Run a study on a cluster as a Ray job. nmlab itself is sent; its dependencies must be installed there.",
    ),
    "evaluate": Verb(
        "evaluate",
        "Measure a model's N:M pattern, its perplexity, and its accuracy on tasks. "
        "--record keeps the result in MLflow.",
    ),
    "diff": Verb(
        "diff",
        "Compare two masks of one model layer by layer; the last row is what two random masks have in common.",
    ),
    "export": Verb(
        "export",
        "Write a masked model in another format, read it back, and compare weights and logits. "
        "Exit code 1 if they differ.",
    ),
    "report": Verb(
        "report",
        "Write the report of a study, or of all studies, from MLflow: HTML, Markdown, CSV, LaTeX, JSON and figures.",
    ),
    "compare": Verb(
        "compare",
        "Compare A with B by tests: difference, interval, cost and settings. Or show studies in one table.",
    ),
    "scale": Verb(
        "scale",
        "Propose logit magnitude, learning rate and steps for a larger model, with uncertainty, as a search space.",
    ),
    "ui": Verb(
        "ui",
        "Serve MLflow's web pages on the tracking store until Ctrl-C. For a remote store only addresses are printed.",
    ),
}
"""The commands, in the order of ``nmlab --help``; a test compares the summaries with the docstrings."""


class VerbGroup(TyperGroup):
    """A group of commands that know their names and summaries; the command of a verb is made when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and remaining arguments of the verb that was typed, its module imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else command, rest


def load(name: str) -> Any:
    """Return the command of a verb with its arguments and options, for Typer to run or to describe."""
    single = typer.Typer(add_completion=False)
    single.command(name)(getattr(import_module(f"nmlab.platform.cli.{VERBS[name].module}"), name))
    return typer.main.get_command(single)


def add_verbs(app: typer.Typer) -> None:
    """Add all verbs to an app whose group is a ``VerbGroup``."""
    for name, verb in VERBS.items():
        app.command(name, help=verb.summary)(_summarised)


def _summarised() -> None:
    """Stand for a verb in lists; ``VerbGroup`` calls the verb itself."""
