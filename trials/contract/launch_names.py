"""How a launch is written, the same in every command, and what is said where there is no such launch.

A launch is written as its folder, its name, the beginning of its name, STUDY@LAUNCH, or the name of its study, which
means its newest launch.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nmlab.trials.contract.near_names import nearest

LEAST = 6
"""The characters that the beginning of a launch's name needs at least; it is also longer than that of its study."""
_SHOWN = 4


class LaunchName(NamedTuple):
    """A launch by its study and its own name."""

    study: str
    launch: str


def split_name(text: str) -> tuple[str, str]:
    """Return the study and the launch of STUDY@LAUNCH or STUDY/LAUNCH; the study is "" for any other text."""
    mark = "@" if "@" in text else "/"
    study, found, launch = text.rpartition(mark)
    return (study, launch) if found else ("", text)


def meant_launch(text: str | None, known: Sequence[LaunchName], *, where: str) -> LaunchName:
    """Return the launch that a text means, of those that are known, oldest first; without a text the newest of all.

    Raises ``ValueError`` with one line if there is none, or if it begins several. ``where`` says where they are known.
    """
    found = list(known) if text is None else _meant(text, known)
    if not found:
        raise ValueError(no_launch(text, where=where, known=known))
    return found[-1]


def no_launch(text: str | None, *, where: str, known: Iterable[LaunchName]) -> str:
    """Return the line that says that there is no such launch, with the nearest name and the studies that have some."""
    launches = list(known)
    studies = sorted({each.study for each in launches})
    near = nearest(text, [*studies, *(each.launch for each in launches)]) if text else None
    wanted = f"no launch {text!r}" if text else "no launch"
    meant = f"; did you mean {near!r}?" if near else ";"
    return f"{wanted} in {where}{meant} studies launched there: {', '.join(studies) or 'none'}"


def _meant(text: str, known: Sequence[LaunchName]) -> list[LaunchName]:
    study, name = split_name(text)
    own = [each for each in known if not study or each.study == study]
    if exact := [each for each in own if each.launch == name]:
        return exact
    if not study and (of_study := [each for each in own if each.study == name]):
        return of_study
    # A beginning is longer than the study's name, so that a misspelt study is not taken for a launch.
    begun = [each for each in own if each.launch.startswith(name) and len(name) > max(LEAST - 1, len(each.study))]
    if len({each.launch for each in begun}) > 1:
        named = ", ".join(f"launch {each.launch}" for each in begun[:_SHOWN])
        more = f" and {len(begun) - _SHOWN} more" if len(begun) > _SHOWN else ""
        raise ValueError(f"{text!r} may mean several: {named}{more}; give more characters")
    return begun
