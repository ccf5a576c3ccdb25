"""Load a study by name or file, at a preset and with overrides; list the packaged studies; write a study as YAML."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from nmlab.search_spaces.reading import earlier_names, study_yaml
from nmlab.search_spaces.reading.overrides import apply_overrides
from nmlab.search_spaces.reading.presets import at_preset, preset_names
from nmlab.search_spaces.reading.problems import StudyError, problem_lines
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.near_names import hint, nearest
from nmlab.trials.contract.values import JsonMapping, JsonObject
from nmlab.trials.contract.wording import shown

# importlib.resources cannot list a namespace package of an editable install on Python 3.11
# (NotADirectoryError on setuptools' path hook), so the folder is found beside this file.
_STUDIES = Path(__file__).with_name("studies")
_SUFFIXES = (".yaml", ".yml")
_LOGGER = logging.getLogger(__name__)


def load(
    name_or_path: str | Path, *, preset: str | None = None, overrides: Sequence[str] = (), from_record: bool = False
) -> Study:
    """Return a packaged study by its name, or a study from a YAML file, with `overrides` such as "a.b=c".

    A text without a folder and without .yaml or .yml is a name. Without `preset` the first preset of the file is taken.
    Earlier names of keys are read, with a warning for each, unless the study comes ``from_record``: a launch's file.
    Raises StudyError, one line for each problem: unknown name or preset, unreadable file, invalid YAML, or invalid
    values.
    """
    path = _locate(name_or_path)
    return loads(_text(path), source=path.name, preset=preset, overrides=overrides, from_record=from_record)


def loads(
    text: str,
    *,
    source: str = "study.yaml",
    preset: str | None = None,
    overrides: Sequence[str] = (),
    from_record: bool = False,
) -> Study:
    """Return the study in the YAML `text`; `source` names it in errors, and `from_record` is as in `load`.

    Raises StudyError.
    """
    data = _mapping(text, source=source)
    return from_mapping(data, source=source, preset=preset, overrides=overrides, from_record=from_record)


def from_mapping(
    data: JsonMapping,
    *,
    source: str,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    from_record: bool = False,
) -> Study:
    """Return the study with the keys and values of a file that is read already; the arguments are those of `loads`.

    Raises StudyError.
    """
    given, earlier = earlier_names.with_present_names(data, source=source)
    for line in () if from_record else earlier_names.earlier_name_notes(earlier, source=source):
        _LOGGER.warning(line)
    settled = at_preset(given, preset=preset, source=source)
    where = source if preset is None else f"{source}, preset {preset}"
    changed = apply_overrides(settled, overrides, note=_LOGGER.warning)
    if changed.get("preset") != settled.get("preset"):
        raise StudyError(["preset: expected --preset NAME to choose a preset"], source="--set")
    return _validated(changed, source=where)


def studies() -> list[Study]:
    """Return every packaged study at its first preset, sorted by name."""
    return [load(name) for name in _names()]


def presets(name_or_path: str | Path) -> tuple[str, ...]:
    """Return the names of the presets of a study, the default of `load` first; none if it has no presets.

    Raises StudyError as `load` does.
    """
    path = _locate(name_or_path)
    return preset_names(_mapping(_text(path), source=path.name))


def dump(study: Study) -> str:
    """Return `study` as YAML with every default written out; `loads` returns an equal study from it.

    What a study came to have later and this one has not (`data.validation`, `search.confirm`) is left out.
    """
    return study_yaml.dump(study.model_dump(mode="json", by_alias=True))


def _mapping(text: str, *, source: str) -> JsonObject:
    data = study_yaml.parse(text, source=source)
    if not isinstance(data, dict):
        expected = "a mapping with name, model, data, pattern and method"
        raise StudyError([f"{shown(data)}: expected {expected}"], source=source)
    return data


def _names() -> list[str]:
    return sorted(path.stem for path in _STUDIES.glob("*.yaml"))


def _locate(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix in _SUFFIXES or len(path.parts) > 1:
        return path
    if name_or_path not in _names():
        raise StudyError([f"unknown study {shown(name_or_path)}{hint(name_or_path, _names())}"])
    return _STUDIES / f"{name_or_path}.yaml"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = nearest(path.stem, _names())
        tail = f"; did you mean the packaged study {near!r}?" if near else ""
        raise StudyError([f"study file {str(path)!r}: not found{tail}"]) from error
    except OSError as error:
        raise StudyError([f"study file {str(path)!r}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise StudyError([f"study file {str(path)!r}: expected UTF-8 text"]) from error


def _validated(data: JsonMapping, *, source: str) -> Study:
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise StudyError(problem_lines(error, data=data), source=source) from error
