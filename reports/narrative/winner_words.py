"""The sentence on the best searched configuration: a winner where all tests agree, else what is not separable."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.metrics import is_counted, plain_name
from nmlab.reports.analysis.pairwise import Completion, OtherConfiguration, Winner, reasons_text, untested_reason
from nmlab.reports.analysis.settings import setting_text, varying
from nmlab.reports.analysis.statements import mean_text, named
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.values import counted

T = TypeVar("T")
NAMED = 3  # configurations in a sentence


def winner_sentence(
    winner: Winner, *, members: Sequence[Configuration], evaluations: Mapping[str, RunEvaluation] | None = None
) -> str:
    """Return one sentence on the best searched configuration of a group, and one on those that are not complete.

    Args:
        winner: the best against all others of the search.
        members: the configurations of the group.
        evaluations: losses by window by run id, which say why something could not be tested.
    """
    best, tried = winner.best, searched(members)
    name, reached = named(best, among=tried), f"{plain_name(best.objective.reported)} {mean_text(best)}"
    if len(tried) == 1:
        return f"The only configuration, {name}, reaches {reached}{_missing(best)}."
    among, is_elsewhere = counted(len(tried), noun="configuration"), best.objective.selects_on_validation
    if winner.is_claimed:
        by = " on the validation text" if is_elsewhere else ""
        text = f"Best of {among}{by}: {name} reaches {reached}; {_sureness(winner)}"
    else:
        has = "has the best mean on the validation text and reaches" if is_elsewhere else "has the best mean,"
        text = f"No winner among {among}: {name} {has} {reached}"
        text += f"{_missing(best)}, {_doubt(winner, tried, evaluations or {})}"
    return " ".join([f"{text}.", *_about_better(winner, tried), *_about_incomplete(winner, tried)])


def _missing(best: Configuration) -> str:
    return "" if best.is_complete else f"; only {len(best.finished)} of its {best.runs_in_all} runs finished"


def _sureness(winner: Winner) -> str:
    rest = winner.complete or winner.against_all
    others = _all_others(len(rest))
    if is_counted(winner.best.objective.reported):
        return f"counted, and better than {others}"
    found = f"tests at 5%, corrected after Holm, find it better than {others}"
    return f"{found} that ran to the end" if winner.complete else f"{found} at the step where each was stopped early"


def _all_others(count: int) -> str:
    return {1: "the other one", 2: "both others"}.get(count, f"all {count} others")


def _doubt(winner: Winner, tried: Sequence[Configuration], evaluations: Mapping[str, RunEvaluation]) -> str:
    """Return why no winner is named."""
    others = winner.complete
    if not winner.best.is_complete:
        return "and no configuration has all its runs"
    if not others:
        return "and no other configuration ran to the end"
    if not winner.undecided:
        return (
            f"and tests find it better than {_all_others(len(others))} that ran to the end, "
            "but one that lacks runs looks better"
        )
    untested = [other for other in winner.undecided if not other.is_tested]
    if len(untested) == len(others):
        return f"but no test was possible against the {_reasons(untested, evaluations, len(others))}"
    shown = listed(winner.undecided, name=lambda other: short_name(other.item, tried))
    why = f" ({len(untested)} untested: {_reasons_alone(untested, evaluations)})" if untested else ""
    return (
        f"but is not separable from {len(winner.undecided)} of the {len(others)} others that ran to the end: "
        f"{shown}{why}"
    )


def _reasons(untested: Sequence[OtherConfiguration], evaluations: Mapping[str, RunEvaluation], others: int) -> str:
    count = f"{others} others" if others > 1 else "other one"
    return f"{count}: {_reasons_alone(untested, evaluations)}"


def _reasons_alone(untested: Sequence[OtherConfiguration], evaluations: Mapping[str, RunEvaluation]) -> str:
    comparisons = [other.comparison for other in untested if other.comparison is not None]
    return reasons_text(untested_reason(item, evaluations=evaluations) for item in comparisons)


def _about_better(winner: Winner, tried: Sequence[Configuration]) -> list[str]:
    """Name the best of those that another text than the selecting one finds better."""
    ahead = [other.item for other in winner.better_but_not_selected]
    if not ahead:
        return []
    sign = 1.0 if winner.best.objective.mode == "min" else -1.0
    first = min(ahead, key=lambda item: math.inf if item.value is None else sign * item.value.mean)
    rest = f", and {counted(len(ahead) - 1, noun='other')} too" if len(ahead) > 1 else ""
    return [
        f"On the evaluation text {short_name(first, tried)} would have been better ({mean_text(first)}){rest}; that is "
        "no selection, since the validation text selects."
    ]


def _about_incomplete(winner: Winner, tried: Sequence[Configuration]) -> list[str]:
    """Name incomplete configurations that look better, and count those that were stopped early."""
    found = []
    lacking = [other for other in winner.better_but_incomplete if other.completion is Completion.LACKS_RUNS]
    ahead = [other for other in winner.better_but_incomplete if other.completion is Completion.STOPPED_EARLY]
    if lacking:
        shown = listed(lacking, name=lambda other: f"{short_name(other.item, tried)}, {_runs(other.item)}")
        found.append(f"Better on the runs that finished, but incomplete: {shown}.")
    if ahead:
        shown = listed(ahead, name=lambda other: f"{short_name(other.item, tried)}{_at(other)}")
        found.append(f"Stopped early while ahead of the best: {shown}.")
    early = [other for other in winner.against_all if other.completion is Completion.STOPPED_EARLY]
    if early and (winner.complete or not winner.is_claimed):
        open_ones = sum(not other.is_worse for other in early)
        verb = "was" if open_ones == 1 else "were"
        found.append(
            f"{counted(len(early), noun='configuration')} stopped early, not evaluated on all steps; at the step "
            f"where each was stopped, {open_ones} of them {verb} not found worse than the best."
        )
    return found


def _runs(item: Configuration) -> str:
    return f"{len(item.finished)} of {counted(item.runs_in_all, noun='run')} finished"


def _at(other: OtherConfiguration) -> str:
    step = other.partial.step if other.partial is not None else None
    return "" if step is None else f" at step {step:,}"


def short_name(item: Configuration, tried: Sequence[Configuration]) -> str:
    """Return the name of a configuration by its own settings, without the method where all share it."""
    if len({other.method for other in tried}) > 1:
        return named(item, among=tried)
    setting = setting_text(item, names=varying(tried))
    return f"{setting} ({item.key})" if setting else item.key


def listed(items: Sequence[T], *, name: Callable[[T], str] = str) -> str:
    """Return the names of the first items, and how many are left; the others are never named."""
    left = len(items) - NAMED
    return "; ".join(map(name, items[:NAMED])) + (f" and {left} more" if left > 0 else "")
