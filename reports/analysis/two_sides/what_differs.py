"""What two sides differ in besides their results: code, versions, machine, model, texts, seeds and settings."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.compared_studies import ComparedStudy
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.two_sides.matching import MatchedPair
from nmlab.reports.read.collect import LaunchRecord
from nmlab.reports.read.typed_text import Value, tag_json, typed
from nmlab.trials.contract import run_params, run_tags

FEW = 6
"""So many values of a side are listed; of more their number and ends."""
NOT_SET = "not set"
UNKNOWN = "not recorded"
_TEXTS_OF_STUDY = (run_params.TITLE, run_params.ANSWERS, "description", "name")
"""Words about a study, which change no number."""
_OF_RUNS = run_params.IDENTITY
"""What is said of the compared runs themselves."""
_RECORDED = {
    "commit": run_tags.GIT_COMMIT,
    "uncommitted changes": run_tags.GIT_DIRTY,
    "digest of the model": run_tags.MODEL_DIGEST,
    "digest of the texts": run_tags.DATA_DIGEST,
}


@dataclass(frozen=True, slots=True)
class DifferingFact:
    """One fact in which the sides differ: its kind, its name, and the value of each side."""

    kind: str
    name: str
    values: tuple[str, str]


def what_differs(
    sides: tuple[ComparedStudy, ComparedStudy], *, pairs: Sequence[MatchedPair]
) -> tuple[DifferingFact, ...]:
    """Return every recorded fact in which the sides differ, in the order code, machine, model and texts, runs, study.

    What both sides have comes before what one lacks. Settings of compared configurations are those of the runs in
    ``pairs``; the rest is of the launches.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    first, second = (_facts(side, [pair.sides[place] for pair in pairs]) for place, side in enumerate(sides))
    names = list(dict.fromkeys([*first, *second]))
    absent = {kind: UNKNOWN if kind in ("code", "machine") else NOT_SET for kind, _ in names}
    found = [
        DifferingFact(kind, name, (first.get((kind, name), absent[kind]), second.get((kind, name), absent[kind])))
        for kind, name in names
    ]
    order = list(dict.fromkeys(kind for kind, _ in names))
    apart = [item for item in found if len(set(item.values)) > 1]
    return tuple(sorted(apart, key=lambda item: (order.index(item.kind), absent[item.kind] in item.values)))


def _facts(side: ComparedStudy, items: Sequence[Configuration]) -> Mapping[tuple[str, str], str]:
    launches = side.runs.launches
    code = {name: _of_launches(launches, tag) for name, tag in _RECORDED.items()}
    versions, hardware = (_of_json(launches, tag) for tag in (run_tags.VERSIONS, run_tags.HARDWARE))
    params = _params(launches)
    about = (run_params.MODEL, run_params.DATA)
    own = {name: text for name, text in params.items() if not name.startswith(about) and name not in _OF_RUNS}
    facts = {
        "code": {**{name: code[name] for name in ("commit", "uncommitted changes")}, **versions},
        "machine": hardware,
        "model and texts": {
            **{name: text for name, text in params.items() if name.startswith(about)},
            **{name: code[name] for name in ("digest of the model", "digest of the texts")},
        },
        "compared runs": _of_items(items),
        "study": {"study": side.runs.study, **own},
    }
    return {(kind, name): text for kind, group in facts.items() for name, text in group.items() if text}


def _of_items(items: Sequence[Configuration]) -> dict[str, str]:
    """Return seeds, methods, patterns and hyperparameters of the compared configurations."""
    seeds = {trial.seed for item in items for trial in item.finished if trial.seed is not None}
    names = dict.fromkeys(name for item in items for name in item.settings)
    hyperparameters = [name for name in names if "." not in name or name == run_params.CALIBRATION_SAMPLES]
    return {
        "seeds": _values_text(sorted(seeds)),
        "method": _values_text([item.method for item in items]),
        "pattern": _values_text([item.pattern for item in items if not item.is_dense]),
        **{name: _values_text(_known(item.settings.get(name) for item in items)) for name in hyperparameters},
    }


def _known(values: Iterable[Value | None]) -> list[Value]:
    return [value for value in values if value is not None]


def _values_text(values: Iterable[Value]) -> str:
    """Return different values in order; of many the number and, for numbers, both ends."""
    different = list(dict.fromkeys(values))
    if all(isinstance(value, int | float) for value in different):
        different.sort(key=lambda value: float(value))
    if len(different) <= FEW:
        return ", ".join(map(value_text, different))
    ends = f"{value_text(different[0])} to {value_text(different[-1])}"
    return f"{len(different)} values" + ("" if isinstance(different[0], str) else f", {ends}")


def _of_launches(launches: Sequence[LaunchRecord], tag: str) -> str:
    return "; ".join(dict.fromkeys(text for launch in launches if (text := launch.tags.get(tag, ""))))


def _of_json(launches: Sequence[LaunchRecord], tag: str) -> dict[str, str]:
    """Return the entries of a JSON tag, of several launches with their different values."""
    found: dict[str, list[str]] = {}
    for launch in launches:
        for name, value in tag_json(launch.tags.get(tag, "{}"), tag=tag, run_id=launch.run_id).items():
            found.setdefault(name, []).append(value if isinstance(value, str) else json.dumps(value))
    return {name: "; ".join(dict.fromkeys(values)) for name, values in found.items()}


def _params(launches: Sequence[LaunchRecord]) -> dict[str, str]:
    names = dict.fromkeys(name for launch in launches for name in launch.params if name not in _TEXTS_OF_STUDY)
    return {name: _joined([launch.params.get(name, "") for launch in launches]) for name in names}


def _joined(texts: Sequence[str]) -> str:
    """Return different values; a number is written as tables write it, so that 1e-3 and 0.001 are one."""
    different = dict.fromkeys(texts)
    return "; ".join(value_text(value) if value is not None else "" for value in typed(list(different)))
