"""Put the place of a refused setting before the error: the file and the line of the study, or the override."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nmlab.search_spaces.schema.entries import ListedEntry
from nmlab.search_spaces.schema.places import KeyPath
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.errors import SettingError, SourceError

_QUOTED = ("source", "split", "column", "revision", "tasks", "neutral")
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
        names = dict.fromkeys((error.setting, error.otherwise, "method"))
        found = [each for name in names for each in _given(study, error.method, name)]
        value_shown = [path for path, value in found if f"{error.setting} = {value!r}" in str(error)]
        return (value_shown or [path for path, _ in found] or [()])[0]
    if isinstance(error, SourceError):
        settings = {"model": study.model.model_dump(), "data": study.data.model_dump(by_alias=True)}
        return next((path for path, value in _texts(settings) if repr(value) in str(error)), ())
    return ()


def _given(study: Study, method: str, setting: str) -> Iterator[tuple[KeyPath, object]]:
    """Yield where a study gives a setting of a method, its own name and the pattern included, with its value."""
    if method in study.methods:
        yield from ((("fixed", name), value) for name, value in study.fixed.items() if name == setting)
        yield from ((("space", name), None) for name in study.space if name == setting)
        if setting == "method":
            yield _method_path(study, method), method
    baselines = [{"method": each} if isinstance(each, str) else dict(each) for each in study.baselines]
    own = {index: baseline for index, baseline in enumerate(baselines) if baseline["method"] == method}
    for index, baseline in own.items():
        if setting in baseline:
            is_name = isinstance(study.baselines[index], str)
            yield ("baselines", index) if is_name else ("baselines", index, setting), baseline[setting]
    if setting == "pattern":
        yield ("pattern",), None


def _method_path(study: Study, method: str) -> KeyPath:
    chosen = study.method
    return ("method", chosen.kind, chosen.values.index(method)) if isinstance(chosen, ListedEntry) else ("method",)


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
