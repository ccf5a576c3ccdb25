"""The page of a launch's run in MLflow: what was found, its best value, its report, and links to its trials."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from nmlab.platform.compat.mlflow_pages import page_path, run_path
from nmlab.platform.tracking.saved_views import MEANS_VIEW, RUNS_VIEW, save_views
from nmlab.reports.read.objective import Objective, objective_of
from nmlab.reports.read.store import RunStore, newest_or_named, reading
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.escaping import markdown_text
from nmlab.trials.contract.metrics import BEST
from nmlab.trials.contract.run_artifacts import REPORT_FOLDER
from nmlab.trials.contract.run_params import newest_params
from nmlab.trials.contract.run_status import TrialStatus

if TYPE_CHECKING:
    from mlflow.entities import Run

_LONGEST = 7_900
"""Characters of a note: MLflow's limit for a tag is 8,000."""


@dataclass(frozen=True)
class Findings:
    """What a launch found: the headline of its report, the file of its page, and the best mean by group."""

    headline: Sequence[str]
    page: str
    best: Mapping[str, float]


def describe_launch(store: RunStore, *, study: str, launch: str, findings: Findings) -> None:
    """Write the note and the best value of a launch's run, and save the views of its study's runs.

    Raises:
        ReportError: the store cannot be read, or does not take them.
    """
    experiment = store.experiment_id(study)
    parent = newest_or_named(store.launches(experiment), name=launch, study=study)
    trials = store.children(experiment, parent=parent.info.run_id)
    objective = objective_of(newest_params(parent.data.params, tags=parent.data.tags))
    note = launch_note(parent, trials, objective=objective, findings=findings)
    with reading(store.uri):
        if parent.data.tags.get(run_tags.NOTE) != note:
            store.client.set_tag(parent.info.run_id, run_tags.NOTE, note)
        for group, value in findings.best.items():
            name = "/".join([BEST.rstrip("/"), *([group] if group else []), objective.reported])
            if parent.data.metrics.get(name) != value:
                store.client.log_metric(parent.info.run_id, name, value)
    save_views(store, experiment)


def best_means(winners: Iterable[Mapping[str, object]]) -> dict[str, float]:
    """Return the mean of the best configuration by pattern, on fresh seeds where it ran on some.

    ``winners`` are those of a report. A single group has no name, and MLflow takes no colon in one.
    """
    means: dict[str, float] = {}
    for winner in winners:
        mean = _fresh_mean(winner) or winner["mean"]
        if isinstance(mean, float):
            means.setdefault(str(winner["pattern"]).replace(":", " of "), mean)
    return means if len(means) != 1 else {"": means.popitem()[1]}


def _fresh_mean(winner: Mapping[str, object]) -> object:
    fresh = winner["fresh"]
    finalists = fresh["finalists"] if isinstance(fresh, Mapping) else ()
    return next((each["fresh_mean"] for each in finalists if each["configuration"] == winner["best"]), None)


def launch_note(parent: "Run", trials: Sequence["Run"], *, objective: Objective, findings: Findings) -> str:
    """Return the note of a launch in Markdown; what does not fit of its trials is counted."""
    experiment = parent.info.experiment_id
    report = run_path(experiment, parent.info.run_id, artifact=f"{REPORT_FOLDER}/{findings.page}")
    links = {
        "report": report,
        "all runs": page_path(experiment, view=RUNS_VIEW),
        "means over seeds": page_path(experiment, view=MEANS_VIEW),
    }
    first, *others = findings.headline or ("The report has no findings.",)
    found = [f"**{_text(first)}**", "\n".join(f"- {_text(line)}" for line in others)]
    links_line = " · ".join(f"[{words}]({path})" for words, path in links.items())
    table = ["| configuration | mean | seeds |", "| --- | --- | --- |"]
    text = "\n\n".join([links_line, *found, "\n".join(table)])
    rows = [_row(runs, objective=objective) for runs in _by_configuration(trials, objective=objective)]
    return _with_rows(text, rows)


def _text(text: str) -> str:
    """Return text as MLflow's Markdown shows it, which takes no backslash before these two characters."""
    return markdown_text(text).replace("\\<", "&lt;").replace("\\$", "$")


def _with_rows(text: str, rows: Sequence[str]) -> str:
    """Add as many rows to a note as it has room for, and say how many are left out."""
    for place, row in enumerate(rows):
        left = f"\n\n{len(rows) - place} more configurations are in the table of all runs."
        if len(text) + len(row) + len(left) + 1 > _LONGEST:
            return text + left
        text += f"\n{row}"
    return text


def _by_configuration(trials: Sequence["Run"], *, objective: Objective) -> list[list["Run"]]:
    """Return the runs by configuration and seed, the best configuration first, those without a value last."""
    own: dict[str, list[Run]] = {}
    for run in trials:
        own.setdefault(_words(run), []).append(run)
    sign = 1 if objective.mode == "min" else -1
    means = {words: _mean(runs, objective.reported) for words, runs in own.items()}
    order = sorted(own, key=lambda words: (means[words] is None, sign * (means[words] or 0.0), words))
    return [sorted(own[words], key=_seed) for words in order]


def _row(runs: Sequence["Run"], *, objective: Objective) -> str:
    mean = _mean(runs, objective.reported)
    value = "" if mean is None else f"{mean:.4g}"
    return f"| {_text(_words(runs[0]))} | {value} | {' '.join(map(_link, runs))} |"


def _link(run: "Run") -> str:
    status = run.data.tags.get(run_tags.STATUS, "")
    shown = f"{_seed(run)}" + ("" if status == TrialStatus.FINISHED else f" {status}")
    return f"[{shown}]({run_path(run.info.experiment_id, run.info.run_id)})"


def _words(run: "Run") -> str:
    tags, method = run.data.tags, run.data.params.get(run_params.METHOD, "")
    return tags.get(run_tags.CONFIGURATION_NAME) or f"{method} {tags.get(run_tags.CONFIGURATION, '')}"


def _seed(run: "Run") -> int:
    return int(run.data.params.get(run_params.SEED, "0"))


def _mean(runs: Sequence["Run"], metric: str) -> float | None:
    """Return the mean of a metric over the finished ones of some runs; None without any."""
    finished = [run for run in runs if run.data.tags.get(run_tags.STATUS) == TrialStatus.FINISHED]
    values = [run.data.metrics[metric] for run in finished if metric in run.data.metrics]
    return fmean(values) if values else None
