"""What to know before trusting the verdict, in at most five short lines; all caveats stand below with their details."""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import searched
from nmlab.reports.analysis.leader import Leader, Standing
from nmlab.reports.analysis.metrics import is_counted
from nmlab.reports.analysis.pairwise import optimism_of
from nmlab.reports.analysis.run_counts import run_counts
from nmlab.reports.analysis.selection_bias import selection_bias_of
from nmlab.reports.analysis.starts import unmoved_of
from nmlab.reports.narrative.first_screen.differences import detectable_text, difference_of
from nmlab.reports.narrative.first_screen.factor_words import factors_of, missed_text
from nmlab.reports.narrative.unmoved_words import unmoved_text
from nmlab.reports.values import counted
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.run_status import LaunchStatus
from nmlab.trials.contract.run_tags import FrozenWeights

MOST_LINES = 5
SMALL_EFFECTS = "No difference seen does not mean none: smaller effects than the verdict names would be missed."


def trust_lines(analysis: Analysis, *, leaders: Sequence[Leader]) -> tuple[str, ...]:
    """Return the lines, the gravest first: what is wrong, what is missing, the selection, the power, the scope.

    Args:
        analysis: one launch, analysed.
        leaders: the leader of each group of comparable masks.
    """
    found = [
        *_integrity(analysis),
        _missing(analysis),
        _unmoved(analysis, leaders),
        _selection(analysis, leaders),
        _power(analysis, leaders),
        _scope(analysis),
    ]
    return tuple(line for line in found if line)[:MOST_LINES]


def _integrity(analysis: Analysis) -> list[str]:
    """Return what is wrong with the launch itself: weights, code, evaluations, an end that it did not reach."""
    launch, check = analysis.runs.launch, analysis.check
    found = []
    if launch.tags.get(run_tags.FROZEN_WEIGHTS) == FrozenWeights.MISMATCH:
        found.append("The frozen weights changed during the study.")
    if check is not None and (check.disagreeing or not check.is_same_text):
        found.append("The recorded results do not all follow from the losses that were kept.")
    if any(trial.git_dirty == run_tags.TRUE for trial in analysis.runs.trials):
        found.append("The code had uncommitted changes.")
    if launch.status != LaunchStatus.FINISHED:
        found.append(f"The launch is {launch.status}, not finished: what is missing may change the verdict.")
    return found[:3]


def _missing(analysis: Analysis) -> str:
    """Return which runs are in no mean."""
    counts = run_counts(analysis.runs)
    early = sum(bool(item.pruned) for item in searched(analysis.configurations))
    parts = [f"{counts.by_outcome[name]} {name}" for name in ("diverged", "failed") if counts.by_outcome.get(name)]
    found = [f"{' and '.join(parts)} of {counted(counts.recorded, noun='run')}: left out of all means"] if parts else []
    if early:
        found.append(f"{counted(early, noun='configuration')} stopped early, compared at the step reached")
    return f"{'; '.join(found)}." if found else ""


def _unmoved(analysis: Analysis, leaders: Sequence[Leader]) -> str:
    """Return how many runs that learn ended where they started; "" where none did."""
    found = unmoved_of(analysis.configurations)
    if not found.runs:
        return ""
    if found.are_most:  # the verdict has their number
        return "A run that ends where it started shows its start, not what it learns: try larger or more steps."
    own = {trial.run_id for leader in leaders for trial in leader.shown.finished}
    best = ", the best among them" if own and own <= set(found.runs) else ""
    return f"{unmoved_text(found)}{best}: there the method shows its start, not what it learns."


def _selection(analysis: Analysis, leaders: Sequence[Leader]) -> str:
    """Return what the choice of the best owes to luck; "" where it owes it nothing."""
    if not leaders or leaders[0].best.is_baseline or is_counted(leaders[0].best.objective.reported):
        return ""
    bias = selection_bias_of(analysis.configurations)
    if bias is None:
        return ""
    if not bias.of_seeds:
        return "Fresh seeds, but the text that chose the best is the text that is reported: its mean may flatter it."
    behind = _behind(leaders[0]) if len(leaders) == 1 else ""
    if behind and not bias.of_text:
        return behind
    if not bias.of_text:
        luck = "part of its lead can be luck" if _leads(leaders) else "its mean can owe something to luck"
        return f"The best of {bias.tried} was chosen by the seeds that are reported: {luck}."
    return f"The best of {bias.tried} was chosen by the numbers that are reported: its mean is optimistic."


def _leads(leaders: Sequence[Leader]) -> bool:
    """Return whether the best of every group has a lead that a test finds."""
    return all(leader.standing is Standing.BEST for leader in leaders)


def selection_text(analysis: Analysis, leader: Leader) -> str:
    """Return that the choice does not flatter the result, which is no reason for doubt; "" where it may."""
    is_chosen = leader.standing is not Standing.BASELINE and not is_counted(leader.best.objective.reported)
    if not is_chosen or selection_bias_of(analysis.configurations) is not None or optimism_of(leader.best) is None:
        return ""
    return (
        "Selected on other text and other seeds than are reported here, so the selection does not flatter the result."
    )


def _behind(leader: Leader) -> str:
    """Return that the runner-up has the better mean on the text that is reported; "" where it has not."""
    rival = leader.runner_up
    difference = None if rival is None else difference_of(rival)
    if rival is None or difference is None or not rival.has_better_mean(leader.shown):
        return ""
    noise = "" if rival.is_better else ", within noise"
    has = difference.clause.removeprefix("has ")
    return f"Selected on validation text; on the evaluation text the runner-up has {has}{noise}."


def _power(analysis: Analysis, leaders: Sequence[Leader]) -> str:
    """Return how small an effect, or a difference to the runner-up, the study would have missed."""
    factors = factors_of(analysis) if len(leaders) == 1 else None
    if factors is not None:
        return SMALL_EFFECTS if missed_text(factors) else ""
    rival = leaders[0].runner_up if len(leaders) == 1 else None
    if rival is None or rival.difference is None or rival.detectable is None or rival.is_worse or rival.is_better:
        return ""
    small = detectable_text(rival.detectable, metric=leaders[0].best.objective.reported)
    over = f"{rival.difference.n} {'fresh ' if leaders[0].is_fresh else ''}{rival.difference.noise}"
    return f"{over} would mostly miss a difference below {small}: not separable does not mean equal."


def _scope(analysis: Analysis) -> str:
    """Return that a verdict holds for what was evaluated."""
    params = analysis.runs.launch.params
    model, text = params.get(run_params.MODEL_SOURCE, ""), params.get(run_params.EVALUATION_SOURCE, "")
    if not model or not text:
        return ""
    windows = f", {counted(analysis.check.windows, noun='window')}" if analysis.check is not None else ""
    neutral = len(run_params.neutral_sources(params))
    beside = f" and {counted(neutral, noun='neutral one')}" if neutral else ""
    return f"One model ({model}), one text ({text}{windows}){beside}, one budget: others may differ."
