"""The configurations that go into one table, with their studies, and whether they may stand beside each other."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nmlab.reports.collect import StudyRuns, collect
from nmlab.reports.configurations import GROUPED_BY, Configuration, configurations_of
from nmlab.reports.errors import ReportError
from nmlab.reports.frame import Value
from nmlab.reports.store import RunStore

ATTRIBUTES = ("study", "method", "pattern", "role")
DECISIVE_VERSIONS = ("nmlab", "torch", "transformers", "lm-eval")
DIGESTS = {"model_digest": "model", "data_digest": "data"}


@dataclass(frozen=True)
class Member:
    """One configuration of one study; ``versions`` are those of the packages that its launch ran with."""

    study: str
    launch: str
    experiment_id: str
    item: Configuration
    versions: Mapping[str, str]

    def get(self, dimension: str) -> Value | None:
        """Return what a row or column is told by: study, method, pattern, role or a setting."""
        if dimension == "study":
            return self.study
        if dimension in ATTRIBUTES:
            return "" if dimension == "pattern" and self.item.is_dense else str(getattr(self.item, dimension))
        return self.item.settings.get(dimension)


def members_of(store: RunStore, *, studies: Sequence[str]) -> tuple[Member, ...]:
    """Return the configurations of several studies.

    Args:
        store: an opened store.
        studies: names, each with ``@launch`` where not the newest launch is meant.

    Raises:
        ReportError: an unknown study or launch, one without a finished run, or a study that is named twice.
    """
    found: list[Member] = []
    seen: set[str] = set()
    for text in studies:
        study, _, launch = text.partition("@")
        if text in seen:
            raise ReportError(f"study {text!r} is named twice")
        seen.add(text)
        runs = collect(store, study=study, launch=launch or None)
        name = text if launch else study
        versions = _versions(runs)
        found += [
            Member(name, runs.launch.name, runs.experiment_id, item, versions) for item in configurations_of(runs)
        ]
    return tuple(found)


def refuse_mixed(members: Sequence[Member], *, layout: Iterable[str], mixed: bool) -> tuple[str, ...]:
    """Refuse runs that were not evaluated alike, unless asked; then return what differs as warnings.

    What a row or column tells apart may differ. Digests are of the data and weights themselves, whatever they are
    called.

    Raises:
        ReportError: naming the first difference.
    """
    known = set(layout)
    found = [
        f"{name} differs: {_shown({member.get(name) for member in members})}"
        for name in _evaluation_settings(members)
        if name not in known and len({member.get(name) for member in members}) > 1
    ]
    for column, noun in DIGESTS.items():
        values = {str(value) for member in members for value in _column(member, column) if value}
        told_apart = any(name.startswith(f"{noun}.") for name in known)
        if len(values) > 1 and not told_apart:
            found.append(f"the {noun} differs by its digest: {_shown(values)}")
    for package in DECISIVE_VERSIONS:
        versions = {member.versions[package] for member in members if package in member.versions}
        if len(versions) > 1:
            found.append(f"the version of {package} differs: {_shown(versions)}")
    if found and not mixed:
        raise ReportError(f"these runs do not belong in one table: {found[0]}; --mixed shows them all the same")
    return tuple(f"Not evaluated alike: {text}." for text in found)


def _evaluation_settings(members: Sequence[Member]) -> list[str]:
    names = {name for member in members for name in member.item.settings if name.startswith(GROUPED_BY)}
    return sorted(names)


def _column(member: Member, name: str) -> list[Any]:
    return list(member.item.finished[name])


def _versions(runs: StudyRuns) -> dict[str, str]:
    try:
        value = json.loads(runs.launch.tags.get("nmlab.versions", "{}"))
    except json.JSONDecodeError as error:
        raise ReportError(f"tag 'nmlab.versions' of run {runs.launch.run_id} is not JSON: {error}") from error
    return {str(name): str(version) for name, version in value.items()} if isinstance(value, dict) else {}


def _shown(values: Iterable[Value | None]) -> str:
    return ", ".join(sorted("none" if value is None else str(value) for value in values))
