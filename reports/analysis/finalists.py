"""What the configurations that ran again on fresh seeds have in common though the search varied it."""

from collections.abc import Collection, Sequence

from nmlab.reports.analysis.configurations import Configuration, groups_of, searched
from nmlab.reports.analysis.settings import value_text, varying
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import counted


def finalists_of(configurations: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """Return the searched configurations with a finished run on fresh seeds."""
    return tuple(item for item in searched(configurations) if item.is_confirmed)


def shared_by_finalists(configurations: Sequence[Configuration]) -> dict[str, Value]:
    """Return the settings that the search varied and of which fresh seeds saw one value alone.

    Empty where fewer than two configurations ran again, or where several methods or groups did: these have too little
    in common to be compared setting by setting.

    Args:
        configurations: of one launch, best first.
    """
    again, tried = finalists_of(configurations), searched(configurations)
    if len(again) < 2 or len({item.method for item in again}) > 1 or len(groups_of(again)) > 1:
        return {}
    first, names = again[0], varying([item for item in tried if item.method == again[0].method])
    return {
        name: first.settings[name]
        for name in names
        if name in first.settings and len({item.settings.get(name) for item in again}) == 1
    }


def shared_text(configurations: Sequence[Configuration], *, names: Collection[str] | None = None) -> str:
    """Return ``all 3 configurations rerun on fresh seeds have alpha=0.99``; "" where nothing is shared.

    Args:
        configurations: of one launch, best first.
        names: the settings to look at; all by default.
    """
    shared = shared_by_finalists(configurations)
    shown = [f"{name}={value_text(value)}" for name, value in shared.items() if names is None or name in names]
    if not shown:
        return ""
    again = len(finalists_of(configurations))
    every = "both" if again == 2 else f"all {counted(again, noun='configuration')}"
    return f"{every} rerun on fresh seeds have {', '.join(shown)}"
