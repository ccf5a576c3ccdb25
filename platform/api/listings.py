"""List the methods and the packaged studies."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

from nmlab.platform.api.rendering import html_facts
from nmlab.trials.contract.values import JsonMapping, JsonObject

if TYPE_CHECKING:
    from nmlab.search_spaces.schema.study import Study
    from nmlab.trials.methods.base import Method


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter of a method: its default, what it does, and where the default is from."""

    name: str
    default: Any
    description: str
    source: str


@dataclass(frozen=True)
class MethodInfo:
    """A method: what it does, its paper, its cost, and its hyperparameters.

    Attributes:
        name: as a study names it.
        summary: what it does; the first line says it alone.
        paper: authors, year and arXiv number; ``"-"`` where there is none.
        cost: what it takes, in passes over the weights or the text.
        patterns: which N:M it takes.
        learned: whether it learns by steps.
        package: the installed package that it comes from.
        hyperparameters: in order.
    """

    name: str
    summary: str
    paper: str
    cost: str
    patterns: str
    learned: bool
    package: str
    hyperparameters: tuple[Hyperparameter, ...] = field(repr=False)
    _schema: JsonMapping = field(repr=False, compare=False)

    def record(self) -> JsonObject:
        """Return it as plain JSON, with the JSON schema of each hyperparameter, as ``nmlab methods --json`` prints."""
        names = ("name", "summary", "paper", "cost", "patterns", "learned", "package")
        return {**{name: getattr(self, name) for name in names}, "hyperparameters": dict(self._schema)}

    def _repr_html_(self) -> str:
        own = {each.name: f"{each.default}: {each.description}" for each in self.hyperparameters}
        facts = {"summary": self.summary, "paper": self.paper, "cost": self.cost, "patterns": self.patterns}
        return html_facts(self.name, {**facts, **own})


@dataclass(frozen=True)
class StudyInfo:
    """A packaged study at one size: what it asks, what it reproduces, and what it takes.

    Attributes:
        name: of the study at this size.
        preset: the size, None if it has one only.
        title: heading of its report.
        question: what it asks.
        description: what to know before reading its results.
        reproduces: published items, such as ``"maskpro/table-10"``.
        captions: the captions of these items, "" where none is known; empty in a list of all studies.
        presets: the names of its sizes, the default first.
        model: the frozen model.
        search: how configurations are chosen.
        searched: what is searched.
        trials: the trials of a launch.
        steps: the training steps of all of them.
        tokens: the tokens that they read in these steps.
        sizes: the study at each of its sizes; empty in a list of all studies.
    """

    name: str
    preset: str | None
    title: str | None
    question: str | None
    description: str | None = field(repr=False)
    reproduces: tuple[str, ...]
    captions: tuple[str, ...] = field(repr=False)
    presets: tuple[str, ...]
    model: str
    search: str
    searched: tuple[str, ...]
    trials: int
    steps: int
    tokens: int
    sizes: "tuple[StudyInfo, ...]" = field(default=(), repr=False)

    @property
    def search_summary(self) -> str:
        """What the search algorithm does, in one line."""
        from nmlab.search_spaces.schema.algorithms import summary_of

        return summary_of(self.search)

    def record(self) -> JsonObject:
        """Return it as plain JSON, as ``nmlab studies --json`` prints it."""
        own: JsonObject = {
            "name": self.name,
            "preset": self.preset,
            "title": self.title,
            "answers": self.question,
            "reproduces": list(self.reproduces),
            "presets": list(self.presets),
            "model": self.model,
            "search": self.search,
            "trials": self.trials,
            "steps": self.steps,
            "tokens": self.tokens,
        }
        if self.sizes:
            own |= {"description": self.description, "sizes": [size.record() for size in self.sizes]}
        return own

    def _repr_html_(self) -> str:
        return html_facts(self.name, {name: value for name, value in self.record().items() if name != "sizes"})


@overload
def methods(name: None = None) -> tuple[MethodInfo, ...]: ...


@overload
def methods(name: str) -> MethodInfo: ...


def methods(name: str | None = None) -> MethodInfo | tuple[MethodInfo, ...]:
    """List all methods, those of installed packages included, or return one.

    Args:
        name: a method; without it, all of them.

    Returns:
        The method, or all methods.

    Raises:
        ValueError: there is no such method; the text names the nearest one.

    Example:
        >>> import nmlab
        >>> nmlab.methods("maskpro").learned
        True
        >>> "wanda" in [method.name for method in nmlab.methods()]
        True
    """
    from nmlab.trials.methods import registry

    if name is not None:
        return _method_info(registry.get(name))
    return tuple(_method_info(registry.get(each)) for each in registry.names())


@overload
def studies(name: None = None) -> tuple[StudyInfo, ...]: ...


@overload
def studies(name: str) -> StudyInfo: ...


def studies(name: str | None = None) -> StudyInfo | tuple[StudyInfo, ...]:
    """List the studies that come with nmlab at their first size, or return one with all of its sizes.

    Args:
        name: a study, by name or file; without it, all of them.

    Returns:
        The study, or all studies.

    Raises:
        StudyError: there is no such study; the text names the nearest one.

    Example:
        >>> import nmlab
        >>> nmlab.studies("maskpro-alpha").reproduces
        ('maskpro/table-10',)
        >>> "quickstart" in [study.name for study in nmlab.studies()]
        True
    """
    from nmlab.search_spaces import loader

    if name is None:
        return tuple(_study_info(study, presets=loader.presets(study.name)) for study in loader.studies())
    presets = loader.presets(name)
    loaded = [loader.load(name, preset=preset) for preset in presets or (None,)]
    sizes = tuple(_study_info(study, presets=presets, captions=tuple(_captions(study))) for study in loaded)
    return replace(sizes[0], sizes=sizes)


def study_schema() -> JsonObject:
    """Return the JSON Schema of study files."""
    from nmlab.search_spaces.json_schema import json_schema

    return dict(json_schema())


def _method_info(method: "Method") -> MethodInfo:
    from nmlab.trials.methods import registry
    from nmlab.trials.methods.base import source_of_default

    fields = method.config.model_fields
    own = (
        Hyperparameter(name, given.default, given.description or "", source_of_default(given))
        for name, given in fields.items()
    )
    return MethodInfo(
        name=method.name,
        summary=method.about.summary,
        paper=method.about.paper,
        cost=method.about.cost,
        patterns=method.about.patterns,
        learned=method.learned,
        package=registry.package_of(method.name),
        hyperparameters=tuple(own),
        _schema=method.config.model_json_schema().get("properties", {}),
    )


def _study_info(study: "Study", *, presets: tuple[str, ...], captions: tuple[str, ...] = ()) -> StudyInfo:
    from nmlab.platform.planning.price import price_of

    price = price_of(study)
    return StudyInfo(
        name=study.name,
        preset=study.preset,
        title=study.title,
        question=study.question,
        description=study.description,
        reproduces=tuple(study.reproduces),
        captions=captions,
        presets=presets,
        model=study.model.source,
        search=study.search.algorithm,
        searched=tuple(study.entries),
        trials=price.trials,
        steps=price.steps,
        tokens=price.tokens,
    )


def _captions(study: "Study") -> Iterator[str]:
    from nmlab.reports.analysis.published import published_tables

    tables = published_tables()
    for item in study.reproduces:
        yield tables[item].caption if item in tables else ""
