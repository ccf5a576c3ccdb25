"""Find the files of a folder or a pattern: all of them, or none and a message that says what to write.

README and licence files are left out and listed in ``ChosenFiles.left_out``; names that begin with a dot are ignored.
Every other file is read or refused. Folders below are read too, in the order of the names.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data.formats import READABLE, Kind, kind_of

_ABOUT_DATA = re.compile(
    r"(readme|(un)?licen[sc]e)([-_.][\w-]{1,12})?(\.(md|txt|text|rst|html?|pdf))?|(copying|notice|citation)(\.\w{1,4})?",
    re.IGNORECASE,
)
_NAMED = 3  # so many files are named in a message


@dataclass(frozen=True)
class ChosenFiles:
    """The files of a source in order, all of one kind, and the files beside them that are left out."""

    files: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()


def in_folder(folder: Path, *, source: str) -> ChosenFiles:
    """Return the files of a folder; ``source`` is what the user wrote.

    Raises ``SourceError`` where there is none, where one cannot be read, and where they are of several kinds.
    """
    return _of_one_kind(list(_walk(folder)), folder=folder, source=source)


def is_pattern(source: str) -> bool:
    """Return whether a source is a pattern of local files: it has a ``*``, and the folder before that exists."""
    return "*" in source and _base(source).is_dir()


def matching(source: str) -> ChosenFiles:
    """Return the files that a pattern such as ``corpus/**/*.txt`` matches; ``**/`` stands for any folders below.

    Raises ``SourceError`` as ``in_folder`` does.
    """
    base, pattern = _base(source), re.compile(_expression(Path(source).expanduser().as_posix()))
    files = [path for path in _walk(base) if pattern.fullmatch(path.as_posix())]
    if not files:
        raise SourceError(f"data {source!r} matches no file")
    if "*" not in Path(source).name:  # each by its full name, so a README is meant
        return _checked(files, (), folder=base, source=source)
    return _of_one_kind(files, folder=base, source=source)


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files below a folder that are not hidden, through links too, in the order of their paths."""
    real = folder.resolve()
    if real in above:
        raise SourceError(f"data folder {str(folder)!r} is a link to a folder that holds it")
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise SourceError(f"data folder {str(folder)!r} could not be read: {error.strerror or error}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, real))
        else:
            yield entry


def _of_one_kind(found: Sequence[Path], *, folder: Path, source: str) -> ChosenFiles:
    about = tuple(path for path in found if _ABOUT_DATA.fullmatch(path.name))
    files = [path for path in found if path not in set(about)]
    if not files and about:
        raise SourceError(
            f"data folder {source!r} holds {_names(about, folder)} and no data; name the file itself if it is the text"
        )
    if not files:
        raise SourceError(f"data folder {source!r} holds no {', '.join(READABLE)} file")
    return _checked(files, about, folder=folder, source=source)


def _checked(files: Sequence[Path], about: tuple[Path, ...], *, folder: Path, source: str) -> ChosenFiles:
    kinds: dict[Kind | None, list[Path]] = {}
    for path in files:
        kinds.setdefault(kind_of(path), []).append(path)
    others = kinds.pop(None, [])
    if others:
        hint = f"choose files with {_choices(kinds, folder)}" if kinds else f"expected {', '.join(READABLE)}"
        raise SourceError(f"data folder {source!r} holds {_names(others, folder)}, which is not read as text; {hint}")
    if len(kinds) > 1:
        held = ", ".join(f"{len(paths)} {kind} ({_names(paths, folder)})" for kind, paths in kinds.items())
        raise SourceError(
            f"data folder {source!r} holds {len(kinds)} kinds of files: {held}; choose with {_choices(kinds, folder)}"
        )
    return ChosenFiles(tuple(files), about)


def _names(paths: Sequence[Path], folder: Path) -> str:
    names = ", ".join(str(path.relative_to(folder)) for path in paths[:_NAMED])
    return names + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")


def _choices(kinds: dict[Kind | None, list[Path]], folder: Path) -> str:
    """Return a pattern for each kind, as one would write it for ``source``."""
    endings = {
        kind: "".join(paths[0].suffixes[-2 if kind and kind.compression else -1 :]) for kind, paths in kinds.items()
    }
    return " or ".join(repr(f"{folder}/**/*{ending}") for ending in endings.values())


def _base(source: str) -> Path:
    """Return the folder in front of the first ``*``."""
    return Path(source.partition("*")[0].rpartition("/")[0] or ("/" if source.startswith("/") else ".")).expanduser()


def _expression(pattern: str) -> str:
    pieces = re.split(r"(\*\*/|\*)", pattern)
    meant = {"**/": "(?:[^/]+/)*", "*": "[^/]*"}
    return "".join(meant.get(piece, re.escape(piece)) for piece in pieces)
