"""Which file was meant by a path that does not exist: the one beside it whose name is most like it."""

from collections.abc import Collection
from pathlib import Path

from nmlab.trials.contract.near_names import nearest

_MOST_LISTED = 3


def file_hint(path: Path, *, suffixes: Collection[str] = ()) -> str:
    """Return the end of a message about a path that does not exist: what beside it was meant; "" if nothing is near.

    ``suffixes`` are those that such a file may have, in lower case; files of another kind are then not offered.
    """
    folder = next((parent for parent in path.parents if parent.is_dir()), None)
    if folder is None:
        return ""
    missing, *below = path.relative_to(folder).parts
    names = _names(folder, suffixes=() if below else suffixes, folders_only=bool(below))
    near = _nearest(missing, names)
    if near is not None:
        meant = folder.joinpath(near, *below)
        return f"; did you mean {str(meant if meant.exists() else folder / near)!r}?"
    if below:
        return f"; there is no folder {str(folder / missing)!r}"
    listed = names if suffixes and len(names) <= _MOST_LISTED else []
    return f"; beside it: {', '.join(listed)}" if listed else ""


def _names(folder: Path, *, suffixes: Collection[str], folders_only: bool) -> list[str]:
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    fitting = [each for each in found if not suffixes or each.suffix.lower() in suffixes]
    return [each.name for each in fitting if not folders_only or each.is_dir()]


def _nearest(missing: str, names: list[str]) -> str | None:
    """Return the name whose part before its suffix is most like that of what is missing."""
    stem, suffix = Path(missing).stem, Path(missing).suffix
    by_stem = {Path(name).stem: name for name in sorted(names, key=lambda name: Path(name).suffix == suffix)}
    near = stem if stem in by_stem else nearest(stem, by_stem)
    return None if near is None else by_stem[near]
