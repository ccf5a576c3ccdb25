"""Say where a study gives what a check refuses: the file and the line, or the override, before what the check says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nmlab.search_spaces.schema.entries import ListedEntry
from nmlab.search_spaces.schema.places import KeyPath
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.errors import SettingError, SourceError

_QUOTED = ("source", "split", "column", "revision", "tasks")
"""Settings of models and texts whose values errors about them quote."""


@contextmanager
def telling_place(study: Study) -> Iterator[None]:
    """Put the place of the setting to blame before the text of a ``ValueError`` that the block raises.

    A text that begins with the path of a setting, such as ``replica.slots = 9: ...``, blames that setting.
    """
    try:
        yield
    except ValueError as error:
        error.args = (study.places.told(str(error), path=_blamed(study, error)),)
        raise


def _blamed(study: Study, error: ValueError) -> KeyPath:
    """Return the path of the setting to blame; () where the text of the error begins with it, or nothing is known."""
    if isinstance(error, SettingError) and error.method:
        found = list(_given(study, error.method, error.setting))
        value_shown = [path for path, value in found if f"{error.setting} = {value!r}" in str(error)]
        return (value_shown or [path for path, _ in found] or [()])[0]
    if isinstance(error, SourceError):
        settings = {"model": study.model.model_dump(), "data": study.data.model_dump(by_alias=True)}
        return next((path for path, value in _texts(settings) if repr(value) in str(error)), ())
    return ()


def _given(study: Study, method: str, setting: str) -> Iterator[tuple[KeyPath, object]]:
    """Yield where a study gives a setting of a method, with its value; then where it names the method."""
    baselines = [{"method": each} if isinstance(each, str) else dict(each) for each in study.baselines]
    own = [index for index, baseline in enumerate(baselines) if baseline["method"] == method]
    if method in study.methods:
        yield from ((("fixed", name), value) for name, value in study.fixed.items() if name == setting)
        yield from ((("space", name), None) for name in study.space if name == setting)
        yield from ((("pattern",), None) for _ in range(setting == "pattern"))
    for index in own:
        if setting in baselines[index] and not isinstance(study.baselines[index], str):
            yield ("baselines", index, setting), baselines[index][setting]
    if method in study.methods:
        chosen = study.method
        yield (
            ("method", chosen.kind, chosen.values.index(method)) if isinstance(chosen, ListedEntry) else ("method",),
            None,
        )
    yield from ((("baselines", index), None) for index in own)


def _texts(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield the values of ``_QUOTED`` below a value, with their paths."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
    elif isinstance(value, str) and any(key in _QUOTED for key in path):
        yield path, value
