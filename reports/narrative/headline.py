"""What a study found, in two to five plain sentences."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import (
    GROUPS_IN_WORDS,
    Configuration,
    baselines,
    best_of,
    comparable_group,
    evaluation_setting,
    group_name,
    groups_of,
    searched,
)
from nmlab.reports.analysis.metrics import chosen_on, is_counted, plain_name, style_of
from nmlab.reports.analysis.neutral import text_figures
from nmlab.reports.analysis.pairwise import (
    Confirmed,
    Side,
    Winner,
    confirmed_of,
    pairwise_comparisons,
    untested_reason,
    winners_of,
)
from nmlab.reports.analysis.selection_bias import selection_bias_of
from nmlab.reports.analysis.starts import has_telling_start
from nmlab.reports.analysis.statements import (
    change_text,
    is_nothing,
    mean_text,
    metric_text,
    named,
    p_value_text,
    quality,
)
from nmlab.reports.narrative.confirmed_words import confirmed_sentences
from nmlab.reports.narrative.neutral_words import neutral_sentence
from nmlab.reports.narrative.winner_words import winner_sentence
from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.values import bracket_text, counted
from nmlab.trials.contract import run_params
from nmlab.trials.contract.run_status import UNFINISHED, WITH_ERROR, TrialStatus


@dataclass(frozen=True, slots=True)
class Basis:
    """What the findings of a launch rest on.

    Attributes:
        configurations: all of the launch, best first.
        winners: the best of each group against all others of the search.
        confirmed: the best of each group on fresh seeds, where it ran on any.
        evaluations: losses by window by run id, as far as read.
    """

    configurations: Sequence[Configuration]
    winners: Mapping[Hashable, Winner]
    confirmed: Mapping[Hashable, Confirmed]
    evaluations: Mapping[str, RunEvaluation]


def headline_of(
    runs: StudyRuns,
    *,
    configurations: Sequence[Configuration],
    verdicts: Sequence[str] = (),
    winners: Mapping[Hashable, Winner] | None = None,
    confirmed: Mapping[Hashable, Confirmed] | None = None,
    evaluations: Mapping[str, RunEvaluation] | None = None,
) -> tuple[str, ...]:
    """Return the findings: whether there is a winner, its gain, its rank, the outcomes of the runs, and a caution.

    A study of one pattern gets one sentence for each finding. A study of several patterns gets one sentence for each
    pattern, since masks of different patterns are not compared.

    Args:
        runs: one launch.
        configurations: its configurations, best first.
        verdicts: the sentences that rest on tests; they follow the findings.
        winners: the best of each group against all others of the search; computed by default.
        confirmed: the best of each group on fresh seeds; computed by default.
        evaluations: losses by window by run id, as far as read.
    """
    known = evaluations or {}
    found = winners if winners is not None else winners_of(configurations, evaluations=known, progress=runs.progress)
    again = confirmed if confirmed is not None else confirmed_of(configurations, evaluations=known)
    basis = Basis(configurations, found, again, known)
    groups = {group: members for group, members in groups_of(configurations).items() if _best(members) is not None}
    if len(groups) == 1:
        sentences = _findings(next(iter(groups.values())), basis)
    else:
        names = {group: group_name(group, groups=groups) for group in groups}
        described = list(groups)[:GROUPS_IN_WORDS]
        sentences = [_short_finding(names[group], groups[group], basis) for group in described]
        if left := list(names.values())[GROUPS_IN_WORDS:]:
            sentences.append(f"The tables also have {counted(len(left), noun='other group')}: {'; '.join(left)}.")
    sentences = sentences or [_without_mask(configurations)]
    rest = [_outcomes(runs), *_caution(configurations)]
    return (*sentences, *verdicts, *rest[: max(1, 5 - len(sentences))])


def _best(members: Sequence[Configuration]) -> Configuration | None:
    """Return the best searched configuration, or the best baseline where none of those finished."""
    return best_of(searched(members)) or best_of(members)


def _findings(members: Sequence[Configuration], basis: Basis) -> list[str]:
    best = _best(members)
    assert best is not None
    found = [
        _best_sentence(best, members, basis),
        _gain_sentence(best, basis.configurations),
        _place_sentence(best, members, basis),
        neutral_sentence(text_figures(best, configurations=basis.configurations)),
    ]
    return [sentence for sentence in found if sentence]


def _best_sentence(best: Configuration, members: Sequence[Configuration], basis: Basis) -> str:
    return " ".join([_best_by_tests(best, members, basis), *_about_constraints(members)])


def _about_constraints(members: Sequence[Configuration]) -> list[str]:
    """Return a sentence on how many configurations of the search break a constraint, and on which."""
    tried = searched(members)
    broken = sum(item.breaks_constraint for item in tried)
    constraints = tried[0].objective.constraints if tried else ()
    if not constraints:
        return []
    wanted = "; ".join(constraint.describe() for constraint in constraints)
    if not broken:
        return [f"All that finished keep the constraints ({wanted})."]
    verb = "breaks" if broken == 1 else "break"
    among = counted(len(tried), noun="configuration")
    return [f"{broken} of {among} {verb} a constraint ({wanted}) and cannot be the best."]


def _best_by_tests(best: Configuration, members: Sequence[Configuration], basis: Basis) -> str:
    group = comparable_group(best)
    winner, confirmed = basis.winners.get(group), basis.confirmed.get(group)
    if not best.is_baseline and confirmed is not None:
        return confirmed_sentences(confirmed, members=members, evaluations=basis.evaluations)
    if not best.is_baseline and winner is not None:
        return winner_sentence(winner, members=members, evaluations=basis.evaluations) + _unconfirmed(best, members)
    what = "Best mask by its mean"
    if tried := searched(members):
        failed = "keeps the constraints" if any(item.breaks_constraint for item in tried) else "finished"
        what = f"No searched configuration {failed}; best baseline"
    missing = "" if best.is_complete else f"; only {len(best.finished)} of its {best.runs_in_all} runs finished"
    name = named(best, among=members)
    return f"{what}: {name} reaches {plain_name(best.objective.reported)} {mean_text(best)}{missing}."


def _unconfirmed(best: Configuration, members: Sequence[Configuration]) -> str:
    """Return a sentence for a best configuration without a run on fresh seeds, if others have one; else ""."""
    if not any(item.confirmation is not None for item in searched(members)):
        return ""
    return f" {best.key} has no finished run on fresh seeds, so these results are those of the search."


def _gain_sentence(best: Configuration, configurations: Sequence[Configuration]) -> str:
    """Return the gain over the configuration's own initial mask; empty where the start was as good as random."""
    gain, initial = best.as_reported.gain, best.as_reported.initial
    if gain is None or initial is None or not has_telling_start(best, members=configurations):
        return ""
    start, own = best.settings.get(run_params.INITIAL_MASK), metric_text(initial.mean, metric=best.objective.metric)
    mask = f"its own initial mask ({start}, {own})" if start else f"its own initial mask ({own})"
    if _is_unchanged(gain):
        return f"Training gained nothing: {mask} has the same {plain_name(best.objective.metric)}."
    return f"{_gain_lead(best)} {_gain_text(best, gain, of=mask)}{_interval_words(best, gain)}."


def _gain_lead(best: Configuration) -> str:
    """Return how a sentence on a gain begins; a gain is measured on the text on which starts are."""
    on_validation = best.objective.selects_on_validation
    return "On the validation text, on which starts are measured, it is" if on_validation else "That is"


def _gain_text(best: Configuration, gain: MeanEstimate, *, of: str) -> str:
    note = quality(gain.mean, objective=best.objective) if gain.excludes_zero else ""
    return change_text(gain.mean, objective=best.objective, of=of, note=note)


def _is_unchanged(gain: MeanEstimate) -> bool:
    return gain.mean == 0 and not gain.half_width


def _interval_words(best: Configuration, gain: MeanEstimate) -> str:
    if gain.low is None or gain.high is None:
        return " (one seed, so no interval)"
    if is_nothing(gain.mean, metric=best.objective.metric):
        return f", paired over {gain.n} seeds"
    shown = bracket_text(gain.mean, low=gain.low, high=gain.high, style=style_of(best.objective.metric))
    verdict = "excludes" if gain.excludes_zero else "does not exclude"
    return f". Paired over {gain.n} seeds, the difference is {shown}; the 95% interval {verdict} zero"


def _place_sentence(best: Configuration, members: Sequence[Configuration], basis: Basis) -> str:
    """Return how the best configuration compares with the dense model and the best baseline mask."""
    setting = evaluation_setting(best)
    dense = best_of([item for item in basis.configurations if item.is_dense and evaluation_setting(item) == setting])
    rule = None if best.is_baseline else best_of(baselines(members))
    parts = []
    if dense is not None:
        parts.append(_against(best, dense, of=f"the dense model's {mean_text(dense.as_reported)}"))
    if rule is not None:
        note = _rule_note(best, rule, basis.evaluations)
        parts.append(_against(best, rule, of=f"the {rule.method} mask's {mean_text(rule.as_reported)}", note=note))
    lead = "On the evaluation text it is" if best.objective.selects_on_validation else "It is"
    return f"{lead} {' and '.join(parts)}." if parts else ""


def _against(best: Configuration, other: Configuration, *, of: str, note: str = "") -> str:
    own, reference = best.as_reported.value, other.as_reported.value
    assert own is not None
    assert reference is not None
    return change_text(own.mean - reference.mean, objective=best.objective, of=of, note=note)


def _rule_note(best: Configuration, rule: Configuration, evaluations: Mapping[str, RunEvaluation]) -> str:
    """Return the verdict of a test of the best configuration against a rule: better, worse or not separable."""
    metric, own = best.objective.reported, Side(best.as_reported)
    (comparison,) = pairwise_comparisons(Side(rule.as_reported), others=[own], metric=metric, evaluations=evaluations)
    if is_counted(metric):
        return quality(comparison.difference, objective=best.objective)
    if comparison.decisive is None or comparison.p_adjusted is None:
        return f"untested: {untested_reason(comparison, evaluations=evaluations)}"
    p_value = p_value_text(comparison.p_adjusted)
    over = f"{comparison.decisive.n} {comparison.decisive.noise}"
    if not comparison.is_separated:
        return f"not separable: {p_value}, {over}"
    return f"{quality(comparison.decisive.difference, objective=best.objective)}: {p_value}, {over}"


def _outcomes(runs: StudyRuns) -> str:
    planned_runs = runs.launch.planned_runs
    counts = {"finished": runs.count(TrialStatus.FINISHED), "diverged": runs.count(TrialStatus.DIVERGED)}
    counts["failed"] = sum(runs.count(status) for status in WITH_ERROR)
    counts["stopped early"] = runs.pruned
    counts["unfinished"] = sum(runs.count(status) for status in UNFINISHED) - counts["stopped early"]
    recorded = runs.recorded
    shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "finished")
    of = (
        f"{recorded} of {counted(planned_runs, noun='planned run')} recorded"
        if planned_runs is not None
        else counted(recorded, noun="run")
    )
    fresh = sum(trial.is_confirmation for trial in runs.trials)
    again = f" Of these, {counted(fresh, noun='run')} on fresh seeds." if fresh else ""
    joined = (
        f" The table includes {counted(runs.external_models, noun='external model')}." if runs.external_models else ""
    )
    return f"{of}: {shown}.{again}{joined}"


def _caution(configurations: Sequence[Configuration]) -> list[str]:
    """Return sentences on how far the mean of the best may be too good because it was selected."""
    bias = selection_bias_of(configurations)
    if bias is None:
        return []
    objective, best = configurations[0].objective, f"The best of {bias.tried} configurations"
    chosen = f"was chosen {chosen_on(objective.reported, objective=objective)}"
    if not bias.of_text:
        return [f"{best} {chosen} by the seeds that are reported here. Fresh seeds would show how much of it is luck."]
    if not bias.of_seeds and any(item.is_confirmed for item in configurations):
        return [f"{best} {chosen} that is reported here; fresh seeds do not show how much of it suits this text alone."]
    return [
        f"{best} {chosen} that is reported here, so its mean is optimistic. A new text or new seeds would show by how "
        "much."
    ]


def _short_finding(name: str, members: Sequence[Configuration], basis: Basis) -> str:
    best = _best(members)
    assert best is not None
    text, gain = f"{name}: {_best_sentence(best, members, basis)}", best.as_reported.gain
    if neutral := neutral_sentence(text_figures(best, configurations=basis.configurations)):
        text += f" {neutral}"
    if gain is None or not has_telling_start(best, members=basis.configurations):
        return text
    if _is_unchanged(gain):
        return f"{text} Training gained nothing over its own initial mask."
    verdict = {True: "excludes zero", False: "does not exclude zero", None: "is not known from one seed"}
    change = _gain_text(best, gain, of="its own initial mask")
    return f"{text} {_gain_lead(best)} {change}; the 95% interval {verdict[gain.excludes_zero]}."


def _without_mask(configurations: Sequence[Configuration]) -> str:
    """Return the sentence of a launch in which no mask can be the best: why, and the best that there is."""
    is_broken = any(item.breaks_constraint for item in configurations)
    what = "No mask that finished keeps the constraints" if is_broken else "No mask has a finished run"
    best = best_of(configurations)
    if best is None:
        return " ".join([f"{what}.", *_about_constraints(configurations)])
    return f"{what}; {best.method} has {plain_name(best.objective.reported)} {mean_text(best)}."
