"""What papers and other tools call settings, and what nmlab calls them; for messages about unknown names."""

from collections.abc import Container, Mapping

OURS: Mapping[str, tuple[str, ...]] = {
    "c": ("logit_magnitude",),
    "lr": ("learning_rate",),
    "eta": ("learning_rate",),
    "rho": ("walk_rate",),
    "tau": ("tau_init", "tau_end"),
    "temperature": ("tau_init", "tau_end"),
    "kappa": ("kappa_init", "kappa_end"),
    "lambda": ("lambda_init", "lambda_end"),
    "iterations": ("steps",),
    "max_steps": ("steps",),
    "num_steps": ("steps",),
    "wd": ("weight_decay",),
}
"""A name in lower case -> the hyperparameters that are meant by it, of one method or another."""
SYMBOLS: Mapping[str, str] = {"logit_magnitude": "C", "learning_rate": "lr", "walk_rate": "rho"}
"""Short names of hyperparameters for the names of runs, where there is little room."""


def our_names(given: object, *, known: Container[str] | None = None) -> tuple[str, ...]:
    """Return the hyperparameters that papers call ``given``, of those that are ``known``; by default of all."""
    names = OURS.get(str(given).casefold(), ())
    return tuple(name for name in names if known is None or name in known)


def called_here(names: tuple[str, ...]) -> str:
    """Return the end of a line about a name that papers use: what it is called here."""
    return f"here it is called {' and '.join(names)}"
