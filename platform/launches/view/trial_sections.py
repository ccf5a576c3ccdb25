"""The sections of the view on trials: those that run, those that did not finish and why, and all of them."""

from collections.abc import Iterable

from nmlab.platform.launches.snapshot import Snapshot, TrialSnapshot
from nmlab.platform.launches.view.groups import (
    ConfigurationGroup,
    FailureGroup,
    by_configuration,
    failures,
    running,
    settings_text,
    shared_settings,
)
from nmlab.platform.launches.view.texts import counted, listed, number, shortened
from nmlab.platform.launches.view.view_line import NAME_CELLS, ViewLine, more, paragraph, row


def running_section(snapshot: Snapshot, width: int, shown: int) -> Iterable[ViewLine]:
    groups = running(snapshot)
    if not groups:
        return
    shared = shared_settings(groups)
    kinds = {group.kind for group in groups}
    kind = next(iter(kinds)) if len(kinds) == 1 else ""
    yield from row("running", f"{kind} {settings_text(shared)}".strip(), width, style="strong")
    left = shown
    for group in groups[:shown]:
        if left < 1:
            break
        yield from _group(group, width, shared=shared, kind=kind, most=left)
        left -= min(left, len(group.trials))
    yield from more(sum(len(group.trials) for group in groups) - shown, "trial", width)


def _group(
    group: ConfigurationGroup, width: int, *, shared: dict[str, str], kind: str, most: int
) -> Iterable[ViewLine]:
    own = group.kind if group.kind != kind else ""
    name = f"{own} {group.text(without=shared)}".strip()
    if name:
        yield from paragraph(name, width, indent=2)
    for trial in group.trials[:most]:
        yield from paragraph(_trial(trial), width, indent=4)


def _trial(trial: TrialSnapshot) -> str:
    """Return where a trial is: its seed, its step, and what it measured last."""
    parts = [f"seed {trial['seed']}{' (fresh)' if trial.get('confirmation') else ''}"]
    if trial["steps"]:
        parts.append(f"step {trial['step']} of {trial['steps']}")
    if trial["loss"] is not None:
        parts.append(f"loss {number(trial['loss'])}")
    if trial["perplexity"] is not None:
        start = f" from {number(trial['initial'])}" if trial["initial"] is not None else ""
        parts.append(f"at {number(trial['perplexity'])}{start}")
    return ", ".join(parts)


def failed_section(snapshot: Snapshot, width: int, shown: int) -> Iterable[ViewLine]:
    groups = failures(snapshot)
    if not groups:
        return
    yield ViewLine(shortened("did not finish", width), "strong")
    for group in groups[:shown]:
        yield from _failure(group, width, shown)
    rest = groups[shown:]
    yield from more(sum(group.count for group in rest), "trial", width, why=f", {counted(len(rest), 'reason')}")


def _failure(group: FailureGroup, width: int, shown: int) -> Iterable[ViewLine]:
    yield from row(f"  {group.count} {group.status}", group.reason or "no reason given", width, style="bad")
    for configuration in group.configurations[: max(1, shown // 3)]:
        seeds = listed(trial["seed"] for trial in configuration.trials)
        word = "seed" if len(configuration.trials) == 1 else "seeds"
        name = f"{configuration.kind} {configuration.text()}".strip()
        yield from row("", f"{name}, {word} {seeds}", width, style="quiet")
    yield from more(len(group.configurations) - max(1, shown // 3), "configuration", width, indent=NAME_CELLS)


def every_trial(snapshot: Snapshot, width: int) -> Iterable[ViewLine]:
    for group in by_configuration(snapshot["trials"].values()):
        yield ViewLine("")
        name = f"{group.kind} {group.text()}".strip()
        fresh = " on fresh seeds" if group.is_confirmation else ""
        yield from paragraph(f"{name}{fresh}", width, style="strong")
        for trial in group.trials:
            yield from paragraph(f"{trial['status']}: {_trial(trial)}", width, indent=2)
            if trial["reason"]:
                yield from paragraph(trial["reason"], width, indent=4, style="quiet")
