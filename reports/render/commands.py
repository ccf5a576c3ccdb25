"""The next commands after a report: for a surer verdict, for the best masks, and for an unfinished launch."""

import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import Configuration, best_of, groups_of, searched
from nmlab.reports.analysis.leader import Standing
from nmlab.reports.analysis.statements import named
from nmlab.reports.render.document import Command
from nmlab.reports.render.surer_commands import beaten_commands, surer_commands
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
    decided = {leader.best.key: leader.standing is Standing.BEST for leader in analysis.leaders}
    found = [*beaten_commands(analysis, store=store), *surer_commands(analysis, store=store)]
    found += [command for members in list(groups.values())[:GROUPS] for command in _of_group(members, store, decided)]
    found += [
        Command(f"nmlab resume {shlex.quote(launch.name)}", "Continue this launch")
        for launch in analysis.runs.launches
        if launch.status not in (LaunchStatus.FINISHED, LaunchStatus.RUNNING)
    ]
    return tuple(found)


def trial_of(item: Configuration) -> tuple[str, str]:
    """Return trial key and seed of the first finished run of a configuration."""
    first = item.finished[0]
    return first.trial_key, str(first.seed)


def _of_group(members: Sequence[Configuration], store: str, decided: Mapping[str, bool]) -> list[Command]:
    valued = [item for item in members if item.value is not None and _has_key(item)]
    best = best_of(searched(valued)) or best_of(valued)
    if best is None:
        return []
    key, seed = trial_of(best)
    by = "its mean on validation text" if best.objective.selects_on_validation else "its mean"
    name = named(best, among=searched(valued))
    what = f"the best mask by {by}, {name} at {best.pattern}, seed {seed},"
    write = Command(f"nmlab export {key} --format hf --output {FOLDER}{store}", f"Write {what} as a Hugging Face model")
    again = Command(
        f"nmlab evaluate {key}{store}", f"Evaluate {name}, seed {seed}, again, or with --data on another text"
    )
    found = [write, again] if decided.get(best.key, True) or len(valued) < 2 else [again, write]
    other = next((item for item in valued if item is not best), None)
    if other is not None:
        found.append(
            Command(f"nmlab diff {key} {trial_of(other)[0]}{store}", f"Compare it with {named(other, among=valued)}")
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
