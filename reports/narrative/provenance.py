"""Where the numbers come from, and warnings about the code, the weights and the runs."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from nmlab.reports.analysis.evaluation_check import EvaluationCheck
from nmlab.reports.read.collect import LaunchRecord, StudyRuns
from nmlab.reports.read.typed_text import tag_json
from nmlab.reports.values import counted
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.run_artifacts import EVALUATION_FILE
from nmlab.trials.contract.run_status import UNFINISHED, LaunchStatus, TrialStatus
from nmlab.trials.contract.run_tags import FrozenWeights
from nmlab.trials.contract.training_losses import DIVERGENCE, train_loss_of

UNKNOWN = "not recorded"
FROZEN: Mapping[str, str] = {
    FrozenWeights.VERIFIED: "verified: byte-identical after the study",
    FrozenWeights.MISMATCH: "CHANGED during the study",
    FrozenWeights.UNVERIFIED: "not verified",
}
NOTES = 12  # the most notes of runs among the warnings
DIRTY = {run_tags.TRUE: "yes: uncommitted changes", run_tags.FALSE: "no"}


@dataclass(frozen=True, slots=True)
class ProvenanceSection:
    """A titled list of facts."""

    title: str
    facts: tuple[tuple[str, str], ...]


def provenance_of(runs: StudyRuns, *, check: EvaluationCheck | None) -> tuple[ProvenanceSection, ...]:
    """Return the provenance of a launch: study, code, model and data, hardware, and the whole study's settings.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    launch = runs.launch
    versions = _json_tag(launch, run_tags.VERSIONS)
    hardware = _json_tag(launch, run_tags.HARDWARE)
    sections = (
        ProvenanceSection("Study", _study_facts(runs)),
        ProvenanceSection("Code", (*_code_facts(launch.tags), *sorted(versions.items()))),
        ProvenanceSection("Model and data", (*_data_facts(launch), *_check_facts(check))),
        ProvenanceSection("Hardware", tuple(sorted(hardware.items())) or (("hardware", UNKNOWN),)),
        ProvenanceSection("Settings that differ between the launches", _differing_settings(runs)),
        ProvenanceSection(
            "All settings of the study" + (" in the newest launch" if runs.pooled else ""),
            tuple(sorted(launch.params.items())),
        ),
    )
    return tuple(section for section in sections if section.facts)


def warnings_of(runs: StudyRuns, *, check: EvaluationCheck | None) -> tuple[str, ...]:
    """Return the warnings: uncommitted code, changed weights, an unfinished launch, runs that don't match."""
    found = [*_code_warnings(runs), *_weights_warnings(runs.launch), *_launch_warnings(runs)]
    found += _notes(runs)
    if check is not None and check.disagreeing:
        found.append(
            "Losses by window or outcomes by question do not give the recorded perplexity or accuracy in "
            f"{counted(len(check.disagreeing), noun='run')} (first: {check.disagreeing[0]})."
        )
    if check is not None and not check.is_same_text:
        found.append("The compared runs were not evaluated on the same windows of text.")
    if check is None:
        found.append(f"No compared run kept its per-window losses ({EVALUATION_FILE}), so none was checked.")
    elif check.missing:
        found.append(
            f"{len(check.missing)} of {counted(check.runs, noun='compared run')} kept no per-window losses "
            f"({EVALUATION_FILE}) and could not be checked (first: {check.missing[0]})."
        )
    if check is not None and check.uncheckable:
        found.append(
            f"{len(check.uncheckable)} of {counted(check.runs, noun='compared run')} recorded no perplexity or "
            f"accuracy that follows from what they kept, and could not be checked (first: {check.uncheckable[0]})."
        )
    return tuple(found)


def moment_text(moment: datetime) -> str:
    """Return a time in UTC as text, to the second."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _study_facts(runs: StudyRuns) -> tuple[tuple[str, str], ...]:
    launch = runs.launch
    facts = [("study", runs.study), *(_pool_facts(runs) if runs.pooled else _launch_facts(launch))]
    facts += [("started", moment_text(launch.started))]
    if launch.ended is not None:
        seconds = (launch.ended - launch.started).total_seconds()
        after = "" if runs.pooled else f", after {seconds:,.0f} s"  # other time may lie between launches
        facts.append(("ended", f"{moment_text(launch.ended)}{after}"))
    facts.append(("runs planned", UNKNOWN if launch.planned_runs is None else str(launch.planned_runs)))
    statuses = Counter(str(trial.status) for trial in runs.trials)
    facts += [(f"runs {status}", str(count)) for status, count in sorted(statuses.items())]
    drawn = len(runs.curves)
    if drawn and drawn < len(runs.trials) // 2:
        facts.append(("loss curves", f"of {drawn:,} of {len(runs.trials):,} runs"))
    divergent = sum(train_loss_of(trial.settings) is not None for trial in runs.trials)
    if divergent:
        facts.append(("train/loss", f"{DIVERGENCE}, in {divergent:,} of {len(runs.trials):,} runs"))
    facts += [
        fact for each in runs.launches for fact in _story_of(each, of="" if each is launch else f" ({each.name})")
    ]
    if launch.reproduces:
        facts.append(("reproduces", ", ".join(launch.reproduces)))
    return tuple(facts)


def _launch_facts(launch: LaunchRecord) -> list[tuple[str, str]]:
    number, launches = launch.position
    name = f"{launch.name} ({number} of {launches})" if launches > 1 else launch.name
    return [("launch", name), ("status", launch.status), ("parent run", launch.run_id)]


def _pool_facts(runs: StudyRuns) -> list[tuple[str, str]]:
    """Return the launches that are pooled, each with its runs; what another launch ran too counts once."""
    found = [("launches pooled", f"{len(runs.pooled)}, each trial counted once")]
    for launch in runs.pooled:
        own = [trial for trial in runs.trials if runs.launch_of_run[trial.run_id] == launch.name]
        again = sum(trial.status == TrialStatus.DUPLICATE for trial in own)
        shared = f", {again} of them counted with another launch" if again else ""
        text = f"{launch.status}, {counted(len(own), noun='run')}{shared}, started {moment_text(launch.started)}"
        found.append((f"launch {launch.name}", f"{text}, parent run {launch.run_id}"))
    return found


def _story_of(launch: LaunchRecord, *, of: str) -> list[tuple[str, str]]:
    """Return what each later version of a launch's study changed, and the launches that its search started from."""
    changed = [(f"version {number} of the study{of}", text) for number, text in enumerate(launch.extensions, start=2)]
    started = launch.tags.get(run_tags.WARM_START, "").splitlines()
    return [*changed, *((f"warm start{of}", line) for line in started)]


def _differing_settings(runs: StudyRuns) -> tuple[tuple[str, str], ...]:
    """Return the settings of the study that differ between pooled launches, with the value of each."""
    names = sorted({name for launch in runs.pooled for name in launch.params})
    values = {name: [launch.params.get(name, "not set") for launch in runs.pooled] for name in names}
    return tuple(
        (name, "; ".join(f"{value} ({launch.name})" for value, launch in zip(own, runs.pooled, strict=True)))
        for name, own in values.items()
        if len(set(own)) > 1
    )


def _code_facts(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return (
        ("commit", tags.get(run_tags.GIT_COMMIT) or UNKNOWN),
        ("uncommitted changes", DIRTY.get(tags.get(run_tags.GIT_DIRTY, ""), "unknown")),
    )


def _data_facts(launch: LaunchRecord) -> tuple[tuple[str, str], ...]:
    sections = (run_params.MODEL, run_params.DATA)
    named = [(name, value) for name, value in sorted(launch.params.items()) if name.startswith(sections)]
    return (
        *named,
        ("model digest", launch.tags.get(run_tags.MODEL_DIGEST) or UNKNOWN),
        ("coverage of the mask", launch.tags.get(run_tags.COVERAGE) or UNKNOWN),
        ("data digest", launch.tags.get(run_tags.DATA_DIGEST) or UNKNOWN),
        ("frozen weights", FROZEN.get(launch.tags.get(run_tags.FROZEN_WEIGHTS, ""), "not verified")),
    )


def _check_facts(check: EvaluationCheck | None) -> tuple[tuple[str, str], ...]:
    if check is None:
        return ()
    size = f"{check.windows:,} windows, {check.tokens:,} tokens, {check.words:,} words"
    checked = len(check.agreeing) + len(check.disagreeing)
    agree = f"{len(check.agreeing)} of {checked} compared runs agree with their per-window losses"
    if left := len(check.missing) + len(check.uncheckable):
        agree += f"; {left} not checkable"
    return (("evaluation text", size), ("perplexity recomputed", agree))


def _code_warnings(runs: StudyRuns) -> list[str]:
    found = []
    flags = {runs.launch.tags.get(run_tags.GIT_DIRTY, run_tags.UNKNOWN), *(trial.git_dirty for trial in runs.trials)}
    if run_tags.TRUE in flags:
        found.append(
            "Run from a dirty tree: the code had uncommitted changes, so the commit alone does not reproduce it."
        )
    elif flags != {run_tags.FALSE}:
        found.append("It is not known whether the code had uncommitted changes.")
    commits = sorted({trial.git_commit for trial in runs.trials} - {""})
    unknown = sum(not trial.git_commit for trial in runs.trials)
    if unknown and run_tags.TRUE not in flags:
        found.append(f"The commit of {counted(unknown, noun='run')} is not recorded.")
    if len(commits) > 1:
        shown = ", ".join(commit[:12] for commit in commits)
        found.append(f"The runs come from {len(commits)} different commits: {shown}.")
    return found


def _weights_warnings(launch: LaunchRecord) -> list[str]:
    state = launch.tags.get(run_tags.FROZEN_WEIGHTS, FrozenWeights.UNVERIFIED)
    if state == FrozenWeights.VERIFIED:
        return []
    if state == FrozenWeights.MISMATCH:
        return ["The frozen weights CHANGED during the study: no number here can be trusted."]
    return ["The frozen weights were not checked after the study."]


def _launch_warnings(runs: StudyRuns) -> list[str]:
    launch = runs.launch
    whose = {each.name: f"Launch {each.name}" if runs.pooled else "The launch" for each in runs.launches}
    found = [
        f"{whose[each.name]} is {each.status}, not finished: this report shows what it had recorded."
        for each in runs.launches
        if each.status != LaunchStatus.FINISHED
    ]
    recorded = runs.recorded
    if launch.planned_runs is not None and recorded != launch.planned_runs:
        found.append(f"Planned: {counted(launch.planned_runs, noun='run')}; recorded: {recorded}.")
    unfinished = sum(runs.count(status) for status in UNFINISHED) - runs.pruned
    if unfinished:
        found.append(f"Left out of all means, because stopped or not ended: {counted(unfinished, noun='run')}.")
    duplicates = runs.count(TrialStatus.DUPLICATE)
    if duplicates:
        found.append(
            f"Left out of all means, because another run holds the same trial: {counted(duplicates, noun='run')}."
        )
    return found


def _notes(runs: StudyRuns) -> list[str]:
    """Return the notes that runs recorded, each once with the number of runs that recorded it."""
    noted: dict[str, list[str]] = {}
    for trial in runs.trials:
        for note in trial.notes.splitlines():
            noted.setdefault(note, []).append(trial.run_id)
    shown = [f"{note} ({_runs_text(run_ids)})." for note, run_ids in noted.items()]
    left = len(shown) - NOTES
    more = f"Runs recorded {counted(left, noun='further note')}; see {run_tags.NOTES}."
    return shown if left <= 0 else [*shown[:NOTES], more]


def _runs_text(run_ids: list[str]) -> str:
    return f"noted by run {run_ids[0]}" if len(run_ids) == 1 else f"noted by {len(run_ids)} runs, first {run_ids[0]}"


def _json_tag(launch: LaunchRecord, name: str) -> dict[str, str]:
    value = tag_json(launch.tags.get(name, "{}"), tag=name, run_id=launch.run_id)
    return {key: item if isinstance(item, str) else json.dumps(item) for key, item in value.items()}
