"""Where each setting of a study was given: a line of a file, a key of a mapping, or an override.

Settings come from several sources: a scale, the study's file, a preset in it, overrides. The last one that gives a
setting wins, so a problem with the setting is told with that source. This is kept beside a study and is no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys and list indices that lead to a setting, such as ``("space", "alpha", "grid", 0)``."""
_PATH = re.compile(r"[\w-]+(?:\.[\w/-]+|\[\d+\])*(?=[ :]|$)")  # metrics, which constraints are on, have slashes
_PART = re.compile(r"\[\d+\]|[\w/-]+")


def key_path(text: str) -> KeyPath:
    """Return the key path with which a text begins, such as ``space.alpha.grid[0]``; () if it begins with none."""
    found = _PATH.match(text)
    parts = _PART.findall(found[0]) if found else ()
    return tuple(int(part[1:-1]) if part.startswith("[") else part for part in parts)


def path_text(path: KeyPath) -> str:
    """Return a key path as messages write it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


@dataclass(frozen=True)
class SettingSource:
    """A file, a mapping or an override that gives settings.

    Attributes:
        name: what messages call it; an override as it was given.
        lines: the line of every key path that it gives; None where it has no lines.
        whole: the key paths whose values replace earlier ones as a whole; sections are merged instead.
        repeats: beginnings of problems that say what ``name`` says already. Only an override has some.
    """

    name: str
    lines: Mapping[KeyPath, int | None]
    whole: frozenset[KeyPath]
    repeats: tuple[str, ...] = ()

    def nearest(self, path: KeyPath) -> KeyPath:
        """Return the longest beginning of a path that this source gives; () if it gives none."""
        return next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), ())

    def below(self, path: KeyPath) -> KeyPath:
        """Return the first key path that this source gives below a path; () if it gives none."""
        return next((each for each in self.lines if path and each[: len(path)] == path), ())

    def decides(self, path: KeyPath) -> bool:
        """Return whether what this source gives, rather than an earlier one, stands at a path."""
        return path in self.lines or any(path[:end] in self.whole for end in range(1, len(path)))

    def tell(self, problem: str, *, at: KeyPath) -> str:
        """Return a problem with what this source gives, in one line that begins with the source and the line."""
        line = self.lines[at]
        if line is not None:
            return f"{self.name}, line {line}: {problem}"
        for beginning in self.repeats:
            problem = problem.removeprefix(beginning)
        names_key = self.repeats or key_path(problem)[: len(at)] == at
        return f"{self.name}: {problem}" if names_key else f"{self.name}: {path_text(at)}: {problem}"


@dataclass(frozen=True)
class SettingPlaces:
    """The sources of a study's settings, the last one first to be asked; all such values are equal.

    Attributes:
        name: what messages call the study where no source gives the setting.
        sources: from the most general to the most particular.
    """

    name: str = field(default="", compare=False)
    sources: tuple[SettingSource, ...] = field(default=(), compare=False)

    def told(self, problem: str, *, path: KeyPath = ()) -> str:
        """Return a problem with the place of the setting that it is about before it, in one line.

        ``path`` is the path of the setting; by default the one with which the problem begins.
        """
        wanted = path or key_path(problem)
        found = self._source_of(wanted) or self._source_of((path_text(wanted),))  # the key itself may have dots
        if found is None:
            return f"{self.name}: {problem}" if self.name else problem
        source, at = found
        return source.tell(problem, at=at)

    def _source_of(self, path: KeyPath) -> tuple[SettingSource, KeyPath] | None:
        """Return the source that decides what stands at a path, else one that gives part of it, or what is below."""
        best: tuple[SettingSource, KeyPath] | None = None
        for source in reversed(self.sources):
            at = source.nearest(path)
            if source.decides(path):
                return source, at
            if at and (best is None or len(at) > len(best[1])):
                best = source, at
        return best or next(((source, at) for source in reversed(self.sources) if (at := source.below(path))), None)
