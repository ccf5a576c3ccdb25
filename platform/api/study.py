"""A study as Python has it: loaded by name, file or mapping, and changed by keywords."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from nmlab.platform.api.rendering import html_text
from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.placing import mapping_source
from nmlab.search_spaces.reading.presets import merged
from nmlab.search_spaces.reading.problems import StudyError, problem_lines
from nmlab.search_spaces.schema import study as schema
from nmlab.search_spaces.schema.places import SettingPlaces
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.files.checked_json import nmlab_version


class Study(schema.Study):
    """One question with all settings: what a study's YAML file says, after presets and overrides.

    Its fields are the keys of the file (docs/studies.md), and it never changes: `with_overrides` returns another.

    Args:
        **settings: the keys of a study, with values as in YAML, such as ``pattern="2:4"`` and
            ``space={"alpha": {"grid": [0.9, 0.99]}}``. `load_study` takes presets and scales too.

    Raises:
        StudyError: a missing or unknown key or a wrong value, with one line for each problem.

    Example:
        >>> import nmlab
        >>> nmlab.load_study("quickstart").method
        'maskpro'
    """

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise StudyError(problem_lines(error, data=settings)) from error

    @classmethod
    def of(cls, study: schema.Study) -> Self:
        """Return a study of the loader as one of this class."""
        return study if isinstance(study, cls) else cls(**_settings(study)).with_places(study.places)

    def with_overrides(self, *overrides: str, **changes: Any) -> Self:
        """Return this study with some settings changed.

        Args:
            *overrides: settings as ``--set`` takes them: a dotted key and a value in YAML, such as
                ``"search.samples=4"``. They are applied last, in order.
            **changes: settings by key. Sections are merged, so ``search={"samples": 4}`` leaves the other keys of
                ``search`` alone; lists and space entries are replaced as a whole. A dotted key can be given as
                ``**{"search.samples": 4}``. A hyperparameter that is set under ``fixed`` leaves ``space``, and the
                other way round.

        Returns:
            The changed study; this one stays as it is.

        Raises:
            StudyError: an unknown key or a wrong value, with one line for each problem.

        Example:
            >>> import nmlab
            >>> study = nmlab.load_study("quickstart")
            >>> changed = study.with_overrides("seeds=[0]", search={"samples": 4}, fixed={"alpha": 0.9})
            >>> changed.seeds, changed.search.samples, "alpha" in changed.space
            ((0,), 4, False)
        """
        given = _nested(changes)
        if chosen := {"preset", "presets"} & given.keys():
            raise StudyError([f"{min(chosen)}: expected load_study(NAME, preset=...) to choose a preset"])
        data = merged(_settings(self), given)
        places = SettingPlaces(self.name, (*self.places.sources, mapping_source(given, source=self.name)))
        return self.of(loader.from_mapping(data, source=self.name, overrides=overrides, places=places))

    def to_yaml(self) -> str:
        """Return the study as YAML with every default written out; `load_study` reads the same study from it."""
        return loader.dump(self)

    def save(self, path: str | Path) -> Path:
        """Write the study as YAML and return the file's path; raises ``OSError`` if it cannot be written.

        The first line says which version of nmlab wrote it.
        """
        Path(path).write_text(f"# nmlab {nmlab_version()}: {self.name}\n{self.to_yaml()}", encoding="utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        return html_text(self.to_yaml())


def load_study(
    source: str | Path | Mapping[str, object], *, preset: str | None = None, overrides: Sequence[str] = ()
) -> Study:
    """Load a study.

    Args:
        source: the name of a packaged study (`studies` lists them), a YAML file, or a mapping with the same keys.
        preset: the size of the study, for example ``"full"``; by default the first one of the file.
        overrides: settings as ``--set`` takes them, such as ``"search.samples=4"``; see `Study.with_overrides`.

    Returns:
        The study with presets and overrides applied.

    Raises:
        StudyError: an unknown name or preset, a file that cannot be read, or wrong settings, with one line for each
            problem.

    Example:
        >>> import nmlab
        >>> nmlab.load_study("maskpro-alpha", preset="full").model.source
        'meta-llama/Llama-2-7b-hf'
        >>> mine = {"name": "mine", "pattern": "2:4", "method": "wanda", "presets": {"small": {"scale": "tiny"}}}
        >>> nmlab.load_study(mine).model.source
        'builtin:tiny'
    """
    if isinstance(source, Mapping):
        data, name = _plain(source), str(source.get("name", "study"))
        return Study.of(loader.from_mapping(data, source=name, preset=preset, overrides=overrides))
    return Study.of(loader.load(source, preset=preset, overrides=overrides))


def as_study(
    given: schema.Study | str | Path | Mapping[str, object], *, preset: str | None = None, overrides: Sequence[str] = ()
) -> Study:
    """Return a study that a function was given: the study itself, or what `load_study` takes.

    Raises ``StudyError`` as `load_study` does, and for a preset of a study that is loaded already.
    """
    if not isinstance(given, schema.Study):
        return load_study(given, preset=preset, overrides=overrides)
    if preset is not None:
        raise StudyError(
            [f"preset {preset!r}: the study {given.name} is loaded already; expected load_study(NAME, preset=...)"]
        )
    study = Study.of(given)
    return study.with_overrides(*overrides) if overrides else study


def _settings(study: schema.Study) -> JsonObject:
    """Return what was set of a study, without defaults, as its file would say it."""
    return study.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _nested(changes: Mapping[str, object]) -> JsonObject:
    """Return settings by key, with ``{"a.b": c}`` as ``{"a": {"b": c}}``."""
    nested: JsonObject = {}
    for path, value in changes.items():
        *sections, name = path.split(".")
        change = {name: _plain(value)}
        for section in reversed(sections):
            change = {section: change}
        nested = merged(nested, change)
    return nested


def _plain(value: Any) -> Any:
    """Return a value as YAML has it: lists for tuples, ranges and sets, Python's numbers for numpy's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Set):
        return sorted(map(_plain, value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value.item() if hasattr(value, "item") and callable(value.item) and not isinstance(value, str) else value
