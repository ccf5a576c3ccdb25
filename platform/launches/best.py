"""Find the best finished configuration of a launch: as in its report, or from the launch's own folder."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nmlab.platform.launches.launch import Launch
from nmlab.reports.analysis.configurations import (
    Configuration,
    best_of,
    configurations_of,
    group_name,
    groups_of,
    searched,
)
from nmlab.reports.read.collect import collect
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.store import RunStore
from nmlab.search_spaces.schema.constraints import Constraint, is_feasible
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_artifacts import RECORD_FILE
from nmlab.trials.contract.trial_spec import TrialSpec


@dataclass(frozen=True)
class Best:
    """The best configuration: its value as text, and its finished trials as run ids, or as (seed, folder)."""

    launch: str
    configuration: str
    value: str
    run_ids: tuple[str, ...] = ()
    folders: tuple[tuple[int, Path], ...] = ()


class FinishedTrialFiles(NamedTuple):
    """A finished trial by its files: the searched metric, the one that is reported, its folder and all its metrics."""

    seed: int
    value: float
    reported: float
    folder: Path
    metrics: Mapping[str, float]


def best_in_store(store: RunStore, parent: Any) -> Best:
    """Return the best configuration of the launch of a parent run.

    Raises ``ValueError`` if nothing finished, or if there are several groups that do not compare, such as patterns.
    """
    launch = parent.data.tags.get(run_tags.LAUNCH, parent.info.run_id)
    study = store.client.get_experiment(parent.info.experiment_id).name
    runs = collect(store, study=study, launch=launch)
    best = best_of_runs(configurations_of(runs), launch=launch)
    assert best.value is not None
    value = f"{runs.objective.reported} {best.value.mean:.4g}"
    return Best(launch, best.key, value, run_ids=tuple(trial.run_id for trial in best.finished))


def best_of_runs(items: Sequence[Configuration], *, launch: str) -> Configuration:
    """Return the best of some configurations of a launch: of those that were searched, else of the others.

    Raises ``ValueError`` if nothing finished, or if there are several groups that do not compare, such as patterns.
    """
    groups = groups_of(items)
    leaders = {
        group: best
        for group, members in groups.items()
        if (best := best_of(searched(members)) or best_of(members)) is not None
    }
    if not leaders:
        keeps = " that keeps search.constraints" if any(item.breaks_constraint for item in items) else ""
        raise ValueError(f"launch {launch} has no finished configuration with a mask{keeps}")
    if len(leaders) > 1:
        named = ", ".join(f"{group_name(group, groups=leaders)}: {best.key}" for group, best in leaders.items())
        raise ValueError(f"launch {launch} has a best configuration in each group ({named}); name one of them")
    (best,) = leaders.values()
    return best


def best_in_folder(folder: Path) -> Best:
    """Return the best configuration of a launch by the files of its finished trials, without MLflow.

    Only the seeds of the search count, and only configurations with the most finished ones that keep the constraints of
    the search. Raises ``ValueError`` as ``best_in_store`` does.
    """
    launch = Launch(folder)
    study = launch.study()
    objective = Objective(study.search.metrics[0], study.search.modes[0])
    found: dict[tuple[str, str], list[FinishedTrialFiles]] = {}
    for path in sorted(launch.trials_folder.glob(f"*/{RECORD_FILE}")):
        record = json.loads(path.read_text(encoding="utf-8"))
        spec = TrialSpec.from_record(record["spec"])
        value, reported = (
            float(record["metrics"].get(name, math.nan)) for name in (objective.metric, objective.reported)
        )
        if spec.method != "dense" and spec.seed in study.seeds and math.isfinite(value):
            trial = FinishedTrialFiles(spec.seed, value, reported, path.parent, record["metrics"])
            found.setdefault((spec.pattern, spec.configuration), []).append(trial)
    if not found:
        raise ValueError(f"launch {launch.name} has no finished configuration with a mask")
    patterns = sorted({pattern for pattern, _ in found})
    if len(patterns) > 1:
        raise ValueError(
            f"launch {launch.name} has a best configuration in each group ({', '.join(patterns)}); name one"
        )
    complete = max(map(len, found.values()))
    full = {name: trials for name, trials in found.items() if len(trials) == complete}
    full = _feasible(full, constraints=study.search.all_constraints, launch=launch.name)
    means = {name: sum(trial.value for trial in trials) / len(trials) for name, trials in full.items()}
    best = min(means, key=lambda name: means[name] if objective.mode == "min" else -means[name])
    mean = sum(trial.reported for trial in full[best]) / len(full[best])
    places = tuple((trial.seed, trial.folder) for trial in full[best])
    return Best(launch.name, best[1], f"{objective.reported} {mean:.4g}", folders=places)


def _feasible(
    found: Mapping[tuple[str, str], list[FinishedTrialFiles]], *, constraints: Sequence[Constraint], launch: str
) -> dict[tuple[str, str], list[FinishedTrialFiles]]:
    """Return the configurations that keep every constraint; raises ``ValueError`` if none does."""
    kept = {
        name: trials for name, trials in found.items() if is_feasible(constraints, [trial.metrics for trial in trials])
    }
    if not kept:
        wanted = " and ".join(limit.describe() for limit in constraints)
        raise ValueError(f"launch {launch} has no finished configuration that keeps search.constraints: {wanted}")
    return kept
