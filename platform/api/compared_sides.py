"""How a side of a comparison is written: launches, several of them pooled, and which configurations of these are meant.

| written | means |
| --- | --- |
| ``LAUNCH`` | all configurations of a launch, which is written as everywhere; a study means its newest launch |
| ``LAUNCH,LAUNCH`` | launches of one study, pooled |
| ``LAUNCH:maskpro`` | its configurations of a method |
| ``LAUNCH:alpha=0.97`` | those with a setting; several terms are joined by commas |
| ``LAUNCH:best`` | the best of its search |
| ``LAUNCH:KEY``, ``KEY`` | one configuration; without its launch, of the newest launch that ran it |
| ``:maskpro`` | of the launch of the side before |
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from nmlab.platform.api.named_results import GivenLaunch, launch_texts
from nmlab.platform.api.results import Configuration

GivenSide: TypeAlias = GivenLaunch | Configuration | Sequence[GivenLaunch]
"""A side: a launch or a part of it as text, a result, a configuration, or several launches that are pooled."""


def side_texts(sides: Sequence[GivenSide], *, tracking_uri: str) -> tuple[str, ...]:
    """Return sides as reports take them: ``STUDY``, ``STUDY@LAUNCH,STUDY@LAUNCH``, each maybe with ``:SELECTOR``.

    Raises:
        ReportError: a store that can't be read, or no such launch or configuration, with the nearest name.
    """
    found: list[str] = []
    for side in sides:
        before = found[-1].partition(":")[0] if found else ""
        found.append(_side_text(side, before=before, tracking_uri=tracking_uri))
    return tuple(found)


def _side_text(side: GivenSide, *, before: str, tracking_uri: str) -> str:
    if isinstance(side, Configuration):
        trial = side.trials[0]
        return f"{trial.study}@{trial.launch}:{side.key}"
    if not isinstance(side, str) or _is_folder(side):
        return _launches(launch_texts(side), tracking_uri=tracking_uri)
    launches, colon, selector = side.partition(":")
    if colon and not launches and before:
        return f"{before}:{selector}"
    texts = [text.strip() for text in launches.split(",") if text.strip()]
    if len(texts) == 1 and not colon and (of_key := _configuration(texts[0], tracking_uri=tracking_uri)):
        return of_key
    return _launches(texts or [launches], tracking_uri=tracking_uri) + (f":{selector}" if selector else "")


def _is_folder(text: str) -> bool:
    """Return whether a text is a folder as it stands, whatever signs are in its name."""
    return (":" in text or "," in text) and Path(text).expanduser().is_dir()


def _launches(texts: Sequence[str], *, tracking_uri: str) -> str:
    from nmlab.platform.tracking.named_launch import as_study_text

    return ",".join(as_study_text(text, tracking_uri=tracking_uri) for text in texts)


def _configuration(text: str, *, tracking_uri: str) -> str:
    """Return the configuration of this key in the newest launch that ran it; empty if the text is no such key."""
    from nmlab.platform.tracking.named_configuration import configuration_in_store

    found = configuration_in_store(text, tracking_uri=tracking_uri)
    return "" if found is None else f"{found.study}@{found.launch}:{found.key}"
