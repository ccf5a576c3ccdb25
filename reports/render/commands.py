"""The next commands after a report: for a surer verdict, for the best masks, and for an unfinished launch."""

import shlex
from collections.abc import Sequence
from urllib.parse import urlsplit

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import Configuration, best_of, groups_of, searched
from nmlab.reports.analysis.leader import Standing
from nmlab.reports.render.document import Command
from nmlab.reports.statistics import Noise
from nmlab.trials.contract.run_status import LaunchStatus

DEFAULT_STORE = "sqlite:///nmlab.db"
FOLDER = "exported-model"
GROUPS = 2  # the most groups with commands


def commands_of(analysis: Analysis, *, tracking_uri: str) -> tuple[Command, ...]:
    """Return the next commands: for a surer verdict, the best mask of the first groups, and an unfinished launch.

    Args:
        analysis: one launch, compared.
        tracking_uri: the store that it was read from; commands name it where it is not the default.
    """
    store = _store_option(tracking_uri)
    groups = groups_of(analysis.configurations)
    found = _to_decide(analysis, store)
    found += [command for members in list(groups.values())[:GROUPS] for command in _of_group(members, store)]
    found += [
        Command(f"nmlab resume {shlex.quote(launch.name)}", "Continue this launch")
        for launch in analysis.runs.launches
        if launch.status not in (LaunchStatus.FINISHED, LaunchStatus.RUNNING)
    ]
    return tuple(found)


def _to_decide(analysis: Analysis, store: str) -> list[Command]:
    """Return the command that adds what a verdict lacks: fresh seeds for a winner of the search, else more seeds."""
    launch, leaders = analysis.runs.launch, analysis.leaders
    rival = leaders[0].runner_up if len(leaders) == 1 else None
    if rival is None or rival.difference is None or rival.difference.noise is not Noise.TRAINING:
        return []
    if analysis.runs.pooled or launch.status != LaunchStatus.FINISHED:
        return []
    leader, name = leaders[0], shlex.quote(launch.name)
    if leader.standing in (Standing.NOT_SEPARABLE, Standing.SOME_NOT_SEPARABLE):
        seeds = 2 * rival.difference.n
        setting = f"search.confirm.seeds={seeds}" if leader.is_fresh else f"seeds={list(range(seeds))}"
        does = f"Look for a smaller difference, with {seeds} {'fresh ' if leader.is_fresh else ''}seeds"
    elif leader.standing is Standing.BEST and not leader.best.is_confirmed:
        setting = f"search.confirm={{top: {min(3, len(leader.tried))}, seeds: 5}}"
        does = "Confirm the winner on fresh seeds"
    else:
        return []
    return [Command(f"nmlab extend {name} --set {shlex.quote(setting)}{store}", does)]


def trial_of(item: Configuration) -> tuple[str, str]:
    """Return trial key and seed of the first finished run of a configuration."""
    first = item.finished[0]
    return first.trial_key, str(first.seed)


def _of_group(members: Sequence[Configuration], store: str) -> list[Command]:
    valued = [item for item in members if item.value is not None and _has_key(item)]
    best = best_of(searched(valued)) or best_of(valued)
    if best is None:
        return []
    key, seed = trial_of(best)
    by = "its mean on validation text" if best.objective.selects_on_validation else "its mean"
    what = f"the best mask by {by}, {best.method} {best.key} at {best.pattern} (seed {seed})"
    found = [
        Command(f"nmlab export {key} --format hf --output {FOLDER}{store}", f"Write {what} as a Hugging Face model"),
        Command(f"nmlab evaluate {key}{store}", "Evaluate it again, or with --data on another text"),
    ]
    other = next((item for item in valued if item is not best), None)
    if other is not None:
        found.append(
            Command(f"nmlab diff {key} {trial_of(other)[0]}{store}", f"Compare it with {other.method} {other.key}")
        )
    return found


def _has_key(item: Configuration) -> bool:
    return any(trial.trial_key for trial in item.finished)


def _store_option(uri: str) -> str:
    """Return the option that names the store; a store with a password is named by its environment variable."""
    if uri == DEFAULT_STORE:
        return ""
    if urlsplit(uri).password is not None:
        return ' --tracking-uri "$MLFLOW_TRACKING_URI"'
    return f" --tracking-uri {shlex.quote(uri)}"
