"""Load a study by name or file, at a preset and with overrides; list the packaged studies; write a study as YAML."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from nmlab.search_spaces.reading import earlier_names, study_yaml
from nmlab.search_spaces.reading.files import SUFFIXES, study_text
from nmlab.search_spaces.reading.overrides import apply_overrides
from nmlab.search_spaces.reading.placing import places_in_file, places_in_mapping, settled_places
from nmlab.search_spaces.reading.presets import at_preset, preset_names
from nmlab.search_spaces.reading.problems import StudyError, missing_space, problem_lines
from nmlab.search_spaces.schema.places import KeyPath, SettingPlaces
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.values import JsonMapping, JsonObject
from nmlab.trials.contract.wording import shown

# importlib.resources cannot list a namespace package of an editable install on Python 3.11
# (NotADirectoryError on setuptools' path hook), so the folder is found beside this file.
_STUDIES = Path(__file__).with_name("studies")
_LOGGER = logging.getLogger(__name__)
_MADE_BY = re.compile(r"# nmlab (?P<version>\S+): ")
"""How the first line of a study begins that nmlab wrote down with the version that did."""


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
    text = study_text(path, packaged=packaged())
    return loads(text, source=_called(path), preset=preset, overrides=overrides, from_record=from_record)


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
    source += made_by(text)
    data, lines = _read(text, source=source)
    places = places_in_file(lines, source=source)
    return from_mapping(data, source=source, preset=preset, overrides=overrides, from_record=from_record, places=places)


def from_mapping(
    data: JsonMapping,
    *,
    source: str,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    from_record: bool = False,
    places: SettingPlaces | None = None,
) -> Study:
    """Return the study with the keys and values of a file that is read already; the arguments are those of `loads`.

    `places` says where the settings were given; by default in a mapping that `source` names. Raises StudyError.
    """
    if places is None:
        places = places_in_mapping(data, source=source)
    given, earlier = earlier_names.with_present_names(data, source=places)
    for line in () if from_record else earlier_names.earlier_name_notes(earlier, source=source):
        _LOGGER.warning(line)
    settled = at_preset(given, preset=preset, source=places)
    changed = apply_overrides(settled, overrides, note=_LOGGER.warning)
    if changed.get("preset") != settled.get("preset"):
        raise StudyError(["preset: expected --preset NAME to choose a preset"], source="--set")
    return _validated(changed, places=settled_places(places, given, preset=preset, overrides=overrides))


def studies() -> list[Study]:
    """Return every packaged study at its first preset, sorted by name."""
    return [load(name) for name in packaged()]


def presets(name_or_path: str | Path) -> tuple[str, ...]:
    """Return the names of the presets of a study, the default of `load` first; none if it has no presets.

    Raises StudyError as `load` does.
    """
    path = _locate(name_or_path)
    return preset_names(_read(study_text(path, packaged=packaged()), source=_called(path))[0])


def dump(study: Study) -> str:
    """Return `study` as YAML with every default written out; `loads` returns an equal study from it.

    What a study came to have later and this one has not (`data.validation`, `search.confirm`, `search.stop`,
    `budget.total`) is left out.
    """
    return study_yaml.dump(study.model_dump(mode="json", by_alias=True))


def made_by(text: str) -> str:
    """Return the end of a study's name in messages: the version of nmlab that wrote it down, if its first line says."""
    found = _MADE_BY.match(text)
    return f" (made by nmlab {found['version']})" if found else ""


def _read(text: str, *, source: str) -> tuple[JsonObject, dict[KeyPath, int | None]]:
    """Return the keys and values of a study, and the line of each key path."""
    data, lines = study_yaml.read(text, source=source)
    if isinstance(data, dict):
        return data, lines
    expected = "a mapping with name, model, data, pattern and method"
    if data is None:
        raise StudyError([f"the file is empty; expected {expected}"], source=f"{source}, line 1")
    meant = missing_space(data.partition("\n")[0]) if isinstance(data, str) else ""
    if isinstance(data, list) and all(isinstance(item, dict) for item in data):
        meant = "write its keys without dashes"
    raise StudyError([f"{shown(data)}: expected {expected}{meant and f'; {meant}'}"], source=source)


def packaged() -> list[str]:
    """Return the names of the packaged studies, sorted."""
    return sorted(path.stem for path in _STUDIES.glob("*.yaml"))


def _locate(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix in SUFFIXES or len(path.parts) > 1:
        return path
    if name_or_path not in packaged():
        raise StudyError([f"unknown study {shown(name_or_path)}{_file_hint(path) or hint(name_or_path, packaged())}"])
    return _STUDIES / f"{name_or_path}.yaml"


def _file_hint(path: Path) -> str:
    """Return the study file in this folder that is called so, for the end of a message; "" if there is none."""
    found = next((file for suffix in SUFFIXES if (file := Path(f"{path}{suffix}")).is_file()), None)
    return f"; did you mean the file {str(found)!r}?" if found else ""


def _called(path: Path) -> str:
    """Return what messages call a study: a file as it was given, a packaged one by its name."""
    return path.name if path.parent == _STUDIES else str(path)


def _validated(data: JsonMapping, *, places: SettingPlaces) -> Study:
    try:
        return Study.model_validate(data).with_places(places)
    except ValidationError as error:
        raise StudyError(problem_lines(error, data=data), source=places) from error
