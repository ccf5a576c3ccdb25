"""What may stand at a place of the command line, for its completion: names that are known without model and store.

Whatever is wrong with what was typed so far, or with a file, gives no suggestions and no error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin

from nmlab.platform.api.places import results_folder
from nmlab.trials.contract.run_params import SEARCH_METRIC

if TYPE_CHECKING:
    from pydantic import BaseModel

    from nmlab.search_spaces.schema.study import Study

Values: TypeAlias = Callable[[], Sequence[str]]
"""Returns the values that a setting may have, or the one that it has."""


def study_names(begun: str = "") -> list[str]:
    """Return the packaged studies, and the study files and folders whose path begins as typed."""
    from nmlab.search_spaces import loader

    return [*loader.packaged(), *_study_files(begun)]


def preset_names(study: str) -> list[str]:
    """Return the presets of a study, by name or file; none if it cannot be read."""
    from nmlab.search_spaces import loader

    try:
        return list(loader.presets(study))
    except ValueError:
        return []


def method_names() -> list[str]:
    """Return the methods, those of installed packages included."""
    from nmlab.trials.methods import registry

    return list(registry.names())


def advised_methods() -> list[str]:
    """Return the methods for which a study can be written."""
    from nmlab.platform.new_study.request import ADVISED

    return list(ADVISED)


def launch_names(results: str | Path | None = None) -> list[str]:
    """Return the studies that have launches in a results folder, and the launches, the newest first."""
    from nmlab.platform.launches.launch import launch_folders

    try:
        folders = launch_folders(results_folder(results))[::-1]
    except ValueError:
        return []
    return [*dict.fromkeys(each.parent.name for each in folders), *(each.name for each in folders)]


def settings(begun: str, *, study: str | None, preset: str | None = None) -> list[str]:
    """Return what ``--set`` may be given for a study: keys with "=", or one key with the values that it may have."""
    from nmlab.search_spaces import loader

    try:
        given = None if study is None else loader.load(study, preset=preset, from_record=True)
    except ValueError:
        given = None
    return _completed(begun, dict(_study_settings(given)))


def hyperparameters(begun: str, *, method: str) -> list[str]:
    """Return what ``--set`` of ``nmlab run`` may be given for a method."""
    return _completed(begun, dict(_method_settings(method)))


def _study_files(begun: str) -> Iterator[str]:
    """Yield the YAML files and the folders beside what was typed."""
    typed, _, start = begun.rpartition("/")
    prefix = f"{typed}/" if "/" in begun else ""
    try:
        beside = sorted(Path(prefix or ".").expanduser().iterdir())
    except (OSError, RuntimeError):  # the latter for the home of an unknown user
        return
    for each in beside:
        if each.name.startswith(start or each.name.lstrip(".")):
            if each.is_dir():
                yield f"{prefix}{each.name}/"
            elif each.suffix in (".yaml", ".yml"):
                yield f"{prefix}{each.name}"


def _completed(begun: str, known: Mapping[str, Values]) -> list[str]:
    """Return keys that begin as typed, each with "="; of a single one, or of one that has its "=", its values."""
    key, equals, _ = begun.partition("=")
    keys = [name for name in known if (name == key if equals else name.startswith(key))]
    if len(keys) != 1:
        return [f"{name}=" for name in keys]
    return [f"{keys[0]}={value}" for value in known[keys[0]]()] or [f"{keys[0]}="]


def _study_settings(study: "Study | None") -> Iterator[tuple[str, Values]]:
    """Yield every key of a study, and the hyperparameters of its methods, with their values."""
    from nmlab.search_spaces.schema import study as schema

    methods = () if study is None else study.methods
    yield from _section_settings(schema.Study, study, prefix="")
    yield "method", method_names
    yield SEARCH_METRIC, partial(_metrics, study)
    fixed = {} if study is None else dict(study.fixed)
    for method in methods:
        for name, values in _method_settings(method, fixed=fixed):
            yield f"fixed.{name}", values
            yield f"space.{name}", tuple


def _section_settings(model: "type[BaseModel]", given: Any, *, prefix: str) -> Iterator[tuple[str, Values]]:
    from pydantic import BaseModel

    for name, field in model.model_fields.items():
        path, value = f"{prefix}{name}", field.default if given is None else getattr(given, name, None)
        parts = [field.annotation, *get_args(field.annotation)]
        section = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
        if section is not None and "kind" not in vars(section):
            yield from _section_settings(section, value, prefix=f"{path}.")
        elif path not in ("preset", "fixed", "space"):
            yield path, partial(_choices_or_value, field.annotation, value)


def _method_settings(method: str, *, fixed: Mapping[str, object] | None = None) -> Iterator[tuple[str, Values]]:
    """Yield the hyperparameters of a method with the values that each may have, or the one that is fixed or default."""
    from nmlab.trials.methods import registry

    try:
        fields = registry.get(method).config.model_fields
    except ValueError:
        return
    for name, field in fields.items():
        values = partial(_choices_or_value, field.annotation, (fixed or {}).get(name, field.default))
        yield name, _initial_masks if name == "initial_mask" else values


def _metrics(study: "Study | None") -> list[str]:
    from nmlab.search_spaces.schema.objectives import common_objectives
    from nmlab.trials.contract.declarations import recorded_by

    own = (recorded_by(method) or () for method in (study.methods if study else ()))
    common = common_objectives(study.data if study else None)
    return [*common, *dict.fromkeys(metric.name for metrics in own for metric in metrics)]


def _initial_masks() -> tuple[str, ...]:
    from nmlab.trials.methods.initial_masks.names import initial_mask_methods

    return initial_mask_methods()


def _choices_or_value(annotation: Any, value: object) -> list[str]:
    """Return the values of an enumeration; of any other type the value that a setting has, if it is one word."""
    from nmlab.trials.contract.wording import shown

    if choices := choices_of(annotation):
        return choices
    text = value if isinstance(value, str) else shown(value) if isinstance(value, bool | int | float) else ""
    return [text] if text and " " not in text else []


def choices_of(annotation: Any) -> list[str]:
    """Return the values of an enumeration, true and false included, as YAML writes them; none of any other type."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    parts = get_args(annotation)
    found = list(dict.fromkeys(choice for part in parts for choice in choices_of(part)))
    return [*found, "null"] if found and NoneType in parts else found
