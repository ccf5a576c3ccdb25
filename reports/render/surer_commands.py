"""The commands that make a verdict surer: a wider range, more seeds or configurations."""

import math
import shlex

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.leader import Leader, Standing
from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.effects import Basis, SettingEffects
from nmlab.reports.analysis.starts import unmoved_of
from nmlab.reports.analysis.totals import SECONDS
from nmlab.reports.narrative.first_screen.differences import detectable_text
from nmlab.reports.narrative.first_screen.factor_words import factors_of
from nmlab.reports.narrative.first_screen.sentence import duration_text
from nmlab.reports.render.document import Command
from nmlab.reports.statistics import Noise
from nmlab.trials.contract import run_params
from nmlab.trials.contract.run_status import LaunchStatus

WIDER = (0.25, 0.5, 2.0, 4.0)  # times the ends
_SMALLER = 1 / math.sqrt(2)  # of a difference, what twice the replicates detect, about


def beaten_commands(analysis: Analysis, *, store: str) -> list[Command]:
    """Return the command that looks at a baseline that is better than the best of the search."""
    leaders = analysis.leaders
    rule = next((rule for rule in leaders[0].rules if rule.is_better), None) if len(leaders) == 1 else None
    if rule is None or leaders[0].best.is_baseline:
        return []
    keys = [item.finished[0].trial_key if item.finished else "" for item in (leaders[0].best, rule.item)]
    if not all(keys):
        return []
    does = f"See where {rule.item.method}, which is better, differs from the best"
    return [Command(f"nmlab diff {' '.join(keys)}{store}", does)]


def surer_commands(analysis: Analysis, *, store: str) -> list[Command]:
    """Return the commands that add what a verdict lacks; none for pooled launches and those that have not finished."""
    launch, leaders = analysis.runs.launch, analysis.leaders
    if analysis.runs.pooled or launch.status != LaunchStatus.FINISHED or len(leaders) != 1:
        return []
    factors = factors_of(analysis)
    found = _of_leader(leaders[0]) if factors is None else _of_factors(analysis, factors, leaders[0])
    if unmoved_of(analysis.configurations).are_most:  # more of the same runs would not say what the method learns
        found = [(setting, does) for setting, does in found if setting.startswith("space.")]
    name = shlex.quote(launch.name)
    return [Command(f"nmlab extend {name} --set {shlex.quote(setting)}{store}", does) for setting, does in found]


def _of_factors(analysis: Analysis, factors: SettingEffects, leader: Leader) -> list[tuple[str, str]]:
    """Return a wider range of each narrow learning rate, and twice the replicates of the tests."""
    unseen = [test for test in factors.tests if not test.is_seen]
    is_grid = analysis.runs.launch.params.get(f"{run_params.SEARCH}algorithm") == "grid"
    found = [wider for test in unseen if (wider := _wider(factors, test.name, is_grid=is_grid)) is not None]
    sizes = [effect.detectable for test in unseen if (effect := factors.stated(test)) is not None]
    if not sizes or (factors.basis is Basis.CONFIGURATIONS and is_grid):
        return found
    count = 2 * (factors.seeds if factors.basis is Basis.SEEDS else len(leader.tried))
    setting = f"seeds={list(range(count))}" if factors.basis is Basis.SEEDS else f"search.samples={count}"
    runs = len(leader.tried) * leader.best.runs_in_all
    outlook = _outlook(leader, detectable=max(sizes), metric=factors.metric, runs=runs)
    return [*found, (setting, f"Look for smaller effects, with {count} {factors.basis}{outlook}")]


def _wider(factors: SettingEffects, name: str, *, is_grid: bool) -> tuple[str, str] | None:
    """Return the setting of a wider range of a learning rate whose values tried lie within a small factor."""
    values = [value for value in factors.tried(name) if not isinstance(value, str)]
    if not name.endswith("learning_rate") or not factors.is_narrow(name):
        return None
    low, high = values[0], values[-1]
    ends = [_short(end * factor) for end, factor in zip((low, low, high, high), WIDER, strict=True)]
    grid = [*ends[:2], *map(value_text, values), *ends[2:]]
    space = f"grid: [{', '.join(grid)}]" if is_grid else f"loguniform: [{ends[0]}, {ends[-1]}]"
    tried = f"{value_text(low)} to {value_text(high)} is a factor of {high / low:.2g}"
    return f"space.{name}={{{space}}}", f"Try a wider range of {name}: {tried}"


def _short(value: float) -> str:
    return f"{value:.2g}"


def _of_leader(leader: Leader) -> list[tuple[str, str]]:
    """Return fresh seeds for a winner of the search, else more seeds."""
    rival = leader.runner_up
    if rival is None or rival.difference is None or rival.difference.noise is not Noise.TRAINING:
        return []
    if leader.standing in (Standing.NOT_SEPARABLE, Standing.SOME_NOT_SEPARABLE):
        n, fresh = rival.difference.n, "fresh " if leader.is_fresh else ""
        setting = f"search.confirm.seeds={2 * n}" if leader.is_fresh else f"seeds={list(range(2 * n))}"
        runs = n * (1 + leader.others if leader.is_fresh else len(leader.tried))
        metric = leader.best.objective.reported
        outlook = _outlook(leader, detectable=rival.detectable, metric=metric, runs=runs)
        return [(setting, f"Look for a smaller difference, with {2 * n} {fresh}seeds{outlook}")]
    if leader.standing is Standing.BEST and not leader.best.is_confirmed:
        setting = f"search.confirm={{top: {min(3, len(leader.tried))}, seeds: 5}}"
        return [(setting, "Confirm the winner on fresh seeds")]
    return []


def _outlook(leader: Leader, *, detectable: float | None, metric: str, runs: int) -> str:
    """Return what twice the replicates detect and cost: ``: detects about 3.7%, now 5.3%; at most 12 more runs, ...``.

    Twice the replicates halve a variance, so a difference that is detectable shrinks by the root of two, at least.
    """
    text = ""
    if detectable is not None:
        smaller = detectable**_SMALLER if is_compared_by_ratio(metric) else detectable * _SMALLER
        after, now = (detectable_text(size, metric=metric) for size in (smaller, detectable))
        text = f": detects about {after}, now {now}"
    cost = leader.shown.estimate(SECONDS)
    return text if cost is None else f"{text}; at most {runs} more runs, about {duration_text(runs * cost.mean)}"
