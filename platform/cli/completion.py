"""Completion of arguments and options: each function returns what may stand where Typer asks for it."""

import typer


def complete_study(incomplete: str) -> list[str]:
    """Return studies and study files."""
    from nmlab.platform.api import suggestions

    return suggestions.study_names(incomplete)


def complete_launch(ctx: typer.Context) -> list[str]:
    """Return studies with launches, and launches, in the results folder that was given."""
    from nmlab.platform.api import suggestions

    return suggestions.launch_names(ctx.params.get("results"))


def complete_preset(ctx: typer.Context) -> list[str]:
    """Return the presets of the study that was given."""
    from nmlab.platform.api import suggestions

    study = _first_argument(ctx, "study")
    return [] if study is None else suggestions.preset_names(study)


def complete_advised_method() -> list[str]:
    """Return the methods for which a study can be written."""
    from nmlab.platform.api import suggestions

    return suggestions.advised_methods()


def complete_method() -> list[str]:
    """Return the methods."""
    from nmlab.platform.api import suggestions

    return suggestions.method_names()


def complete_setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return keys and values that the study takes."""
    from nmlab.platform.api import suggestions

    return suggestions.settings(incomplete, study=_first_argument(ctx, "study"), preset=ctx.params.get("preset"))


def complete_hyperparameter(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return hyperparameters and values that the method takes."""
    from nmlab.platform.api import suggestions

    method = _first_argument(ctx, "method")
    return [] if method is None else suggestions.hyperparameters(incomplete, method=method)


def _first_argument(ctx: typer.Context, name: str) -> str | None:
    """Return the first argument; while an option still lacks its value, Typer has not given it its name."""
    return ctx.params.get(name) or next(iter(ctx.args), None)
