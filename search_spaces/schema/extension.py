"""What an extension may change in the study of a launch, and which settings it changed.

Trials that have run are kept by their keys, and what the search was told stays told. So a study may grow: more
configurations, seeds, baselines, fresh seeds to confirm with, another space, other limits. What would make its old and
new trials incomparable is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES
from nmlab.trials.contract.sections import TrialBudget
from nmlab.trials.contract.wording import shown

_WORDS = ("title", "question", "description", "reproduces")
_LIMITS = ("search.stop", "budget.total")
"""What ends a search before it has tried all of its samples."""
_FREE = (
    *_WORDS,
    "replica",
    "space",
    "search.initial_points",
    "budget.max_concurrent",
    "budget.time_limit",
    *_LIMITS,
    "intervals",
)
"""Settings, and sections with all that is in them, that change no trial which has run."""
_ENTRIES = ("pattern", "method", CALIBRATION_SAMPLES, "search.confirm", "search.constraints")
"""Mappings that are one setting each."""
_RUNGS = ("intervals.evaluate_every", "intervals.log_every", "space.steps")
_SUCCESSOR = "start a new launch with nmlab sweep"
_COMPARED = f"all trials of a launch must have the same; {_SUCCESSOR}"
_SEARCHED = f"what the search was told is by it; {_SUCCESSOR}"
_REASONS = {
    "name": "it names the MLflow experiment that holds the launch",
    "preset": "it is part of the name of the MLflow experiment that holds the launch",
    "search": _SEARCHED,
    "search.constraints": "configurations were told by them; nmlab sweep --warm-start evaluates them anew",
    **{
        f"budget.{name}": f"it is part of every trial, so all would run again; {_SUCCESSOR}"
        for name in TrialBudget.model_fields
    },
}


def changed_settings(before: Study, after: Study) -> dict[str, tuple[object, object]]:
    """Return the settings that differ as ``{path: (before, after)}``, in file order, sections spelt out by dots.

    What is searched, baselines, seeds and other lists are one setting each.
    """
    old, new = _flat(before), _flat(after)
    return {path: (old.get(path), new.get(path)) for path in {**old, **new} if old.get(path) != new.get(path)}


def change_lines(before: Study, after: Study) -> list[str]:
    """Return each setting that differs in words: its path, the value before and the value after.

    Of long lists, whose beginnings alone would be shown, the entries that come and go.
    """
    return [f"{path}: {_change(old, new)}" for path, (old, new) in changed_settings(before, after).items()]


def _change(old: object, new: object) -> str:
    if shown(old) != shown(new) or not isinstance(old, list) or not isinstance(new, list):
        return f"{shown(old)} -> {shown(new)}"
    come, go = ([entry for entry in one if entry not in other] for one, other in ((new, old), (old, new)))
    parts = [
        f"with {', '.join(map(shown, come))}" if come else "",
        f"without {', '.join(map(shown, go))}" if go else "",
    ]
    return " and ".join(filter(None, parts)) or "in another order"


def changes_search(before: Study, after: Study) -> bool:
    """Return whether what is searched, compared or confirmed differs between two versions of a study."""
    changed = changed_settings(before, after)
    return any(path in _GROWS or path.startswith(("space.", "search.", *_LIMITS)) for path in changed)


def extension_problems(before: Study, after: Study) -> Iterator[str]:
    """Yield one line for each setting that an extension from ``before`` to ``after`` must not change."""
    for path, (old, new) in changed_settings(before, after).items():
        grows = _GROWS.get(path)
        if grows is not None:
            yield from grows(old, new)
        elif not _is_free(path) and not _moves(path, before=before, after=after):
            yield _kept(path, old, new)
    if before.search.scheduler is not None:
        for path in _RUNGS:
            if (change := changed_settings(before, after).get(path)) is not None:
                yield _kept(
                    path, *change, why="early stopping compares configurations at the steps that follow from it"
                )


def _flat(study: Study) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in study.model_dump(mode="json", by_alias=True).items():
        flat |= (
            _spelt_out(value, name)
            if name not in ("fixed", "space")
            else {f"{name}.{key}": entry for key, entry in value.items()}
        )
    return flat


def _spelt_out(value: object, path: str) -> dict[str, object]:
    if path in _ENTRIES or not isinstance(value, Mapping):
        return {path: value}
    return {name: item for key, inner in value.items() for name, item in _spelt_out(inner, f"{path}.{key}").items()}


def _moves(path: str, *, before: Study, after: Study) -> bool:
    """Return whether a fixed hyperparameter is searched from now on, or a searched one is fixed."""
    section, _, name = path.partition(".")
    return section == "fixed" and (name in before.space) != (name in after.space)


def _is_free(path: str) -> bool:
    return any(path == free or path.startswith(f"{free}.") for free in _FREE)


def _kept(path: str, old: object, new: object, *, why: str = "") -> str:
    section = path.partition(".")[0]
    reason = why or _REASONS.get(path) or _REASONS.get(section) or _COMPARED
    return f"{path} {shown(new)}: expected {shown(old)}, as in the launch; {reason}"


def _grown_list(path: str, what: str) -> Callable[[object, object], Iterator[str]]:
    def problems(old: object, new: object) -> Iterator[str]:
        assert isinstance(old, Sequence), path
        kept = new if isinstance(new, Sequence) else ()
        if missing := [item for item in old if item not in kept]:
            yield f"{path} {shown(new)}: {shown(missing[0])} is missing, {what}; expected all of {shown(old)} and more"

    return problems


def _samples(old: object, new: object) -> Iterator[str]:
    if isinstance(old, int) and (not isinstance(new, int) or new < old):
        yield f"search.samples {shown(new)}: expected {old} or more; configurations that were tried stay"


def _confirmation(old: object, new: object) -> Iterator[str]:
    if not isinstance(old, Mapping):
        return
    seeds = new["seeds"] if isinstance(new, Mapping) else None
    if seeds is None or seeds < old["seeds"]:
        wanted = f"{{seeds: {old['seeds']}}} or more"
        yield f"search.confirm {shown(new)}: expected {wanted}; later confirmations use the seeds of earlier ones"


_GROWS: dict[str, Callable[[object, object], Iterator[str]]] = {
    "seeds": _grown_list("seeds", "which trials have run with"),
    "baselines": _grown_list("baselines", "which belongs to the launch"),
    "search.samples": _samples,
    "search.confirm": _confirmation,
}
