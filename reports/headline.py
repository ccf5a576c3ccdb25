"""What a study found, in two to five plain sentences."""

from collections.abc import Sequence

from nmlab.reports.collect import Objective, StudyRuns
from nmlab.reports.configurations import (
    FAILED,
    GROUPS_IN_WORDS,
    UNFINISHED,
    Configuration,
    baselines,
    best_of,
    evaluation_setting,
    group_name,
    groups_of,
    searched,
    setting_text,
    varying,
)
from nmlab.reports.metrics import chosen_on, is_counted, plain_name, style_of
from nmlab.reports.statistics import Estimate
from nmlab.reports.tables import half_width_text, number_text
from nmlab.reports.wording import counted


def headline_of(
    runs: StudyRuns, *, configurations: Sequence[Configuration], verdicts: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the findings: the best configuration, its gain, its place, what became of the runs, and a caution.

    A study of one pattern gets a sentence each; one of several patterns a sentence for each, since masks of
    different patterns are not compared.

    Args:
        runs: one launch.
        configurations: its configurations, best first.
        verdicts: what tests say about it, told after what was found.
    """
    groups = {group: members for group, members in groups_of(configurations).items() if _best(members) is not None}
    if len(groups) == 1:
        found = _findings(next(iter(groups.values())), configurations)
    else:
        names = {group: group_name(group, groups=groups) for group in groups}
        found = [_short_finding(names[group], groups[group]) for group in list(groups)[:GROUPS_IN_WORDS]]
        if untold := list(names.values())[GROUPS_IN_WORDS:]:
            found.append(f"The tables have {counted(len(untold), noun='group')} more: {'; '.join(untold)}.")
    found = found or [_only_dense(configurations)]
    rest = [_outcomes(runs), *_caution(list(groups.values()))]
    return (*found, *verdicts, *rest[: max(1, 5 - len(found))])


def _best(members: Sequence[Configuration]) -> Configuration | None:
    """Return the best searched configuration, or the best baseline where none of those finished."""
    return best_of(searched(members)) or best_of(members)


def _findings(members: Sequence[Configuration], configurations: Sequence[Configuration]) -> list[str]:
    best = _best(members)
    assert best is not None
    gain = _gain_sentence(best)
    place = _place_sentence(best, members, configurations)
    return [_best_sentence(best, searched(members)), *([gain] if gain else []), *([place] if place else [])]


def _best_sentence(best: Configuration, tried: Sequence[Configuration]) -> str:
    setting = setting_text(best, names=varying([item for item in tried if item.method == best.method]))
    metric = plain_name(best.objective.metric)
    what = "Best configuration" if len(tried) > 1 else "The configuration"
    if best.is_baseline:
        what = "No searched configuration finished; best baseline" if tried else "Best mask"
    name = f"{best.method} with {setting}" if setting else best.method
    missing = "" if best.is_complete else f"; only {len(best.finished)} of its {len(best.trials)} runs finished"
    return f"{what}: {name} ({best.key}) reaches {metric} {_mean_text(best)}{missing}."


def _gain_sentence(best: Configuration) -> str:
    gain, initial = best.gain, best.initial
    if gain is None or initial is None:
        return ""
    start = best.settings.get("initial_mask")
    mask = f"its own initial mask ({start}, {_number(best, initial.mean)})" if start else "its own initial mask"
    if _is_nothing(gain):
        return f"That is exactly what {mask} has: nothing was learned."
    text = f"That is {_number(best, abs(gain.mean))} {_better(gain.mean, best.objective)} than {mask}"
    return f"{text}, {_interval_words(best, gain)}."


def _is_nothing(gain: Estimate) -> bool:
    return gain.mean == 0 and not gain.half_width


def _interval_words(best: Configuration, gain: Estimate) -> str:
    if gain.low is None or gain.high is None:
        return "on one seed, which gives no interval"
    between = f"difference {_number(best, gain.mean)} [{_number(best, gain.low)}, {_number(best, gain.high)}]"
    verdict = "excludes" if gain.excludes_zero else "does not exclude"
    return f"paired over {gain.n} seeds: {between}, and the 95% interval {verdict} zero"


def _place_sentence(
    best: Configuration, members: Sequence[Configuration], configurations: Sequence[Configuration]
) -> str:
    """Say where the best configuration stands between the dense model and the best baseline mask."""
    setting = evaluation_setting(best)
    dense = best_of([item for item in configurations if item.is_dense and evaluation_setting(item) == setting])
    rule = None if best.is_baseline else best_of(baselines(members))
    parts = [
        f"{_against(best, item)} {name} {_mean_text(item)}"
        for item, name in ((dense, "the dense model's"), (rule, f"the {rule.method} mask's" if rule else ""))
        if item is not None
    ]
    return f"It is {' and '.join(parts)}." if parts else ""


def _against(best: Configuration, other: Configuration) -> str:
    own, reference = best.value, other.value
    assert own is not None
    assert reference is not None
    difference = own.mean - reference.mean
    return f"{_number(best, abs(difference))} {_better(difference, best.objective)} than"


def _outcomes(runs: StudyRuns) -> str:
    planned = runs.launch.planned
    counts = {"finished": runs.count("finished"), "diverged": runs.count("diverged")}
    counts["failed"] = sum(runs.count(status) for status in FAILED)
    counts["unfinished"] = sum(runs.count(status) for status in UNFINISHED)
    recorded = runs.recorded
    shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "finished")
    of = (
        f"{recorded} of {counted(planned, noun='planned run')} recorded"
        if planned is not None
        else counted(recorded, noun="run")
    )
    joined = f" {counted(runs.judged, noun='model')} from elsewhere joined the table." if runs.judged else ""
    return f"{of}: {shown}.{joined}"


def _caution(groups: Sequence[Sequence[Configuration]]) -> list[str]:
    most = max((len(searched(members)) for members in groups), default=0)
    if most < 2 or is_counted(groups[0][0].objective.metric):
        return []
    return [
        f"The best of {most} configurations was chosen {chosen_on(groups[0][0].objective.metric)} that is "
        "reported here, so its mean is optimistic; a fresh text or fresh seeds would say by how much."
    ]


def _short_finding(name: str, members: Sequence[Configuration]) -> str:
    best = _best(members)
    assert best is not None
    gain = best.gain
    text = f"{name}: {_best_sentence(best, searched(members))}"
    if gain is None:
        return text
    if _is_nothing(gain):
        return f"{text[:-1]}, exactly what its own initial mask has."
    verdict = {True: "excludes zero", False: "does not exclude zero", None: "is not known from one seed"}
    change = f"{_number(best, abs(gain.mean))} {_better(gain.mean, best.objective)}"
    return f"{text[:-1]}, {change} than its own initial mask; the 95% interval {verdict[gain.excludes_zero]}."


def _only_dense(configurations: Sequence[Configuration]) -> str:
    best = best_of(configurations)
    assert best is not None
    metric = plain_name(best.objective.metric)
    return f"No mask has a finished run; {best.method} has {metric} {_mean_text(best)}."


def _better(difference: float, objective: Objective) -> str:
    lower = difference < 0
    return ("lower" if lower else "higher") + (" (better)" if lower == (objective.mode == "min") else " (worse)")


def _mean_text(item: Configuration) -> str:
    value = item.value
    assert value is not None
    text = _number(item, value.mean)
    if value.half_width is None:
        return f"{text} (one seed)"
    half = half_width_text(value.half_width, beside=value.mean, style=style_of(item.objective.metric))
    return f"{text} ± {half} ({value.n} seeds)"


def _number(item: Configuration, value: float) -> str:
    return number_text(value, style=style_of(item.objective.metric))
