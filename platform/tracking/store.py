"""The runs of one launch in an MLflow store. Calls are idempotent, so that a resumed launch continues its runs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Protocol

from nmlab.platform.compat.mlflow_pages import TRAINING_KIND
from nmlab.platform.launches.journal import has_ended_for_good
from nmlab.platform.launches.ownership import user_name
from nmlab.platform.records.payloads import InitialMaskRecord, Point, ResultRecord
from nmlab.platform.tracking.data_sets import dataset_inputs
from nmlab.platform.tracking.end_tags import LONGEST_TEXT, end_tags, notes_tag, stale_tags
from nmlab.platform.tracking.run_names import run_name, without_confirmation
from nmlab.reports.read.mlflow_access import library
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.declarations import has_phase
from nmlab.trials.contract.metrics import OBJECTIVE, Phase
from nmlab.trials.contract.run_status import MLFLOW_RUNNING, MLFLOW_STATUS, LaunchStatus, TrialStatus
from nmlab.trials.contract.run_tags import Role, RunKind, condition
from nmlab.trials.contract.secrets import masked
from nmlab.trials.contract.trial_spec import flat_settings
from nmlab.trials.methods.initial_masks import initial_mask_file

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_BATCH = 1000  # MLflow's limit on metrics a call
_PARAMS = 100  # and on parameters


def _shown_as(name: str) -> dict[str, str]:
    """Return the tags that MLflow's pages show as a run's name, source and owner."""
    return {run_tags.RUN_NAME: name, run_tags.SOURCE_NAME: "nmlab", run_tags.USER: user_name()}


def _param_text(value: object) -> str:
    """Return the value of a parameter as MLflow gets it."""
    return masked(str(value))[:6000]


def _initial_mask_params(record: InitialMaskRecord) -> dict[str, object]:
    """Return the parameters of an initial mask, under the names that trials use for the same settings."""
    calibration = flat_settings({"data": {"calibration": record["calibration"]}})
    own = {name: record[name] for name in run_params.IDENTITY}
    others = {
        run_params.MODEL_SOURCE: record["model"],
        run_params.CALIBRATION_DIGEST: record["calibration_digest"],
    }
    return {**own, **record["hyperparameters"], **calibration, **others}


def _refuse_missing(names: Sequence[str], *, folder: Path) -> None:
    """Raise ``FileNotFoundError`` for the first file that is missing in a closed run, if any."""
    if names:
        raise FileNotFoundError(f"{folder / names[0]} is gone; the run was closed without it")


class Recorded(Protocol):
    """What a child run records: a trial, or an external model."""

    @property
    def key(self) -> str: ...

    @property
    def configuration(self) -> str: ...

    @property
    def method(self) -> str: ...

    @property
    def seed(self) -> int: ...

    def flat(self) -> Mapping[str, object]:
        """Return every setting under a dotted name."""


class MlflowStore:
    """The parent run and the child runs of one launch of a study."""

    def __init__(self, study: str, *, launch: str, uri: str) -> None:
        self._client = library.client(uri)
        self._study, self._launch, self.uri = study, launch, uri
        self.recall()

    def recall(self) -> None:
        """Read which runs the store has; a call that failed may have written some of them."""
        self._experiment = self._open_experiment()
        self.parent = self._find_parent() or ""
        self._children = self._find_children()
        self._seen: dict[str, set[tuple[str, int]]] = {}
        self._initial_masks: set[str] = set()

    @property
    def keys(self) -> set[str]:
        """The keys of all trials that have a run."""
        return set(self._children)

    def works(self) -> bool:
        """Return whether the store can be read and written, even if it refuses some records."""
        try:
            self._client.get_experiment(self._experiment)
            self._client.set_experiment_tag(self._experiment, run_tags.STUDY, self._study)
        except Exception:  # locked, full or out of reach: stores raise many types of errors
            return False
        return True

    def begin(self, tags: Mapping[str, str], params: Mapping[str, object]) -> None:
        """Create the parent run, or open the one that an earlier process of this launch made.

        Parameters cannot change. What an extension of the launch changed of them is kept in tags, which win.
        """
        if not self.parent:
            own = {run_tags.KIND: RunKind.LAUNCH, run_tags.LAUNCH: self._launch, **_shown_as(self._launch)}
            self.parent = self._client.create_run(self._experiment, tags={**own, **tags}).info.run_id
            for child in self._runs_of_launch():  # their parent was deleted
                self._client.set_tag(child, run_tags.PARENT_RUN, self.parent)
        else:
            self._renew_tags(tags)
        self._log_settings(params)
        self._client.update_run(self.parent, status=MLFLOW_RUNNING)
        self._client.set_tag(self.parent, run_tags.STATUS, LaunchStatus.RUNNING)

    def _renew_tags(self, tags: Mapping[str, str]) -> None:
        """Set the tags of the parent run that a process of the launch sets anew."""
        before = self._client.get_run(self.parent).data.tags
        wanted = {name: tags.get(name) for name in run_tags.OF_THE_NEWEST}
        wanted |= {name: text for name, text in tags.items() if name.startswith(run_tags.EXTENSION)}
        self._set_or_delete(wanted, before=before)

    def _log_settings(self, params: Mapping[str, object]) -> None:
        """Log the parameters of the parent run, and what differs from those that it has as tags."""
        data = self._client.get_run(self.parent).data
        texts = {name: _param_text(value) for name, value in params.items()}
        self._log_params(self.parent, {name: text for name, text in texts.items() if name not in data.params})
        changed: dict[str, str | None] = {}
        for name, before in data.params.items():
            text = texts.get(name, run_tags.REMOVED_PARAM)
            changed[f"{run_tags.CHANGED_PARAM}{name}"] = None if text == before else text[:LONGEST_TEXT]
        self._set_or_delete(changed, before=data.tags)

    def _set_or_delete(self, wanted: Mapping[str, str | None], *, before: Mapping[str, str]) -> None:
        """Give the parent run tags, and remove those that are None; ``before`` are the tags that it has."""
        for name, text in wanted.items():
            if text is None and name in before:
                self._client.delete_tag(self.parent, name)
            elif text is not None and before.get(name) != text:
                self._client.set_tag(self.parent, name, text)

    def settle_confirmation(self, keys: Collection[str]) -> None:
        """Take the mark of a confirmation from the runs of the trials ``keys``, whose seeds are the study's now.

        No other run loses its mark: a later process of the launch tells of this again, when others confirm the search.
        """
        for run in self._search(f"{self._of_launch} and {condition(run_tags.CONFIRMATION, run_tags.TRUE)}"):
            if run.data.tags[run_tags.TRIAL_KEY] in keys:
                for name in (run_tags.CONFIGURATION_NAME, run_tags.RUN_NAME):
                    if text := run.data.tags.get(name):
                        self._client.set_tag(run.info.run_id, name, without_confirmation(text))
                self._client.delete_tag(run.info.run_id, run_tags.CONFIRMATION)

    def begin_trial(self, spec: "Recorded", *, role: Role, tags: Mapping[str, str], words: str = "") -> None:
        """Create a trial's child run, or open its existing one unless that has ended for good.

        ``words`` say what varies in its configuration; without them its run is named by digests.
        """
        run = self._children.get(spec.key)
        if run is None:
            own = self._child_tags(spec, role=role, words=words)
            run = self._client.create_run(self._experiment, tags={**tags, **own}).info.run_id
            self._children[spec.key] = run
            self._seen[spec.key] = set()  # a run that was made just now holds no point, so none is read
        elif self._has_ended_for_good(run):
            return
        else:
            self._client.update_run(run, status=MLFLOW_RUNNING)
            self._client.set_tag(run, run_tags.STATUS, TrialStatus.RUNNING)
            self._client.set_tag(run, run_tags.RESUMABLE, run_tags.FALSE)
        settings = spec.flat()
        self._log_params(run, settings)
        self._client.log_inputs(run, datasets=dataset_inputs(settings, data_digest=tags.get(run_tags.DATA_DIGEST, "")))

    def _has_ended_for_good(self, run: str) -> bool:
        tags = self._client.get_run(run).data.tags
        resumable = tags.get(run_tags.RESUMABLE) == run_tags.TRUE
        return has_ended_for_good(tags.get(run_tags.STATUS, ""), is_resumable=resumable)

    def _child_tags(self, spec: "Recorded", *, role: Role, words: str) -> dict[str, str]:
        name = run_name(words, seed=spec.seed) if words else f"{spec.method}-{spec.configuration}-seed{spec.seed}"
        return {
            **_shown_as(name),
            **({run_tags.CONFIGURATION_NAME: words[:LONGEST_TEXT]} if words else {}),
            **({run_tags.PARENT_RUN: self.parent} if self.parent else {}),
            run_tags.KIND: RunKind.TRIAL,
            run_tags.LAUNCH: self._launch,
            run_tags.TRIAL_KEY: spec.key,
            run_tags.CONFIGURATION: spec.configuration,
            run_tags.ROLE: role,
            run_tags.STATUS: TrialStatus.RUNNING,
        }

    def log_points(self, key: str, points: Sequence[Point]) -> None:
        """Log metric points; a metric that already has a value at a step keeps it."""
        run = self._children[key]
        seen = self._seen_in(key, run)
        fresh: dict[tuple[str, int], Metric] = {}
        for point in points:
            for name, value in point["values"].items():
                if (name, point["step"]) not in seen:
                    fresh[name, point["step"]] = library.metric(name, value, time=point["time"], step=point["step"])
        metrics = list(fresh.values())
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run, metrics=metrics[start : start + _BATCH], synchronous=True)
        seen.update(fresh)

    def end_trial(self, result: ResultRecord, *, folder: Path, objective: float | None = None) -> None:
        """Close a child run with its artifacts; a run that is already closed like this is left alone.

        ``folder`` holds its artifacts. Metrics of the end of a trial, such as its cost, are logged from the result
        unless the last point had them, and ``objective`` under the name by which pages sort runs.

        Raises ``FileNotFoundError`` for a missing artifact, after the run is closed with all others.
        """
        run, status = self._children[result["key"]], result["status"]
        before = self._client.get_run(run).data.tags
        is_resumable, was_resumable = bool(result.get("resumable")), before.get(run_tags.RESUMABLE) == run_tags.TRUE
        if before.get(run_tags.STATUS) == status and is_resumable == was_resumable:
            if run_tags.MISSING_ARTIFACTS in before:  # they may have come back
                names = before[run_tags.MISSING_ARTIFACTS].split(",")
                _refuse_missing(self._attach_files(run, names, before=before, folder=folder), folder=folder)
            return
        self._log_end(result, objective=objective)
        missing = self._attach_files(run, result.get("artifacts", ()), before=before, folder=folder)
        for tag in stale_tags(result, before=before):
            self._client.delete_tag(run, tag)
        tags = end_tags(result)
        if is_resumable != was_resumable:
            tags[run_tags.RESUMABLE] = run_tags.flag(is_resumable)
        if tags:
            self._client.log_batch(run, tags=[library.tag(name, text) for name, text in tags.items()], synchronous=True)
        self._close(run, status)
        _refuse_missing(missing, folder=folder)

    def _attach_files(self, run: str, names: Sequence[str], *, before: Mapping[str, str], folder: Path) -> list[str]:
        """Attach the files that exist; return the names of the others, which are recorded in a tag of the run.

        ``before`` are the run's tags.
        """
        missing = [name for name in names if not (folder / name).is_file()]
        for name in names:
            if name not in missing:
                self._client.log_artifact(run, str(folder / name))
        if missing:
            self._client.set_tag(run, run_tags.MISSING_ARTIFACTS, ",".join(missing)[:LONGEST_TEXT])
        elif run_tags.MISSING_ARTIFACTS in before:
            self._client.delete_tag(run, run_tags.MISSING_ARTIFACTS)
        return missing

    def _log_end(self, result: ResultRecord, *, objective: float | None) -> None:
        values = {name: value for name, value in result.get("metrics", {}).items() if has_phase((name,), Phase.END)}
        values |= {} if objective is None else {OBJECTIVE: objective}
        if values:
            point: Point = {"step": result["step"], "time": time_ns() // 1_000_000, "values": values}
            self.log_points(result["key"], [point])

    def keep_initial_mask(
        self, digest: str, *, record: InitialMaskRecord, folder: Path, tags: Mapping[str, str]
    ) -> None:
        """Record a mask that trials start from, once, as a child run of the launch.

        It is not one of the planned trials: its kind is ``initial_mask``. ``record`` is that of
        ``SharedMask``; its file is in ``folder``. Trials that started from it have its digest as a tag.
        """
        if digest not in self._initial_masks:
            self._keep_initial_mask(digest, record=record, folder=folder, tags=tags)
            self._initial_masks.add(digest)

    def _keep_initial_mask(
        self, digest: str, *, record: InitialMaskRecord, folder: Path, tags: Mapping[str, str]
    ) -> None:
        own = {
            **_shown_as(f"initial-mask-{record['method']}-{record['pattern']}-{digest[:8]}"),
            **({run_tags.PARENT_RUN: self.parent} if self.parent else {}),
            run_tags.KIND: RunKind.INITIAL_MASK,
            run_tags.LAUNCH: self._launch,
            run_tags.STATUS: TrialStatus.RUNNING,
            run_tags.MODEL_DIGEST: record["model_digest"],
            run_tags.INITIAL_MASK_DIGEST: digest,
            **notes_tag(record["notes"]),
        }
        found = self._find_initial_mask(digest) or self._client.create_run(self._experiment, tags={**tags, **own})
        if found.data.tags.get(run_tags.STATUS) == TrialStatus.FINISHED:
            return
        run = found.info.run_id
        self._log_params(run, _initial_mask_params(record))
        for name, value in record["cost"].items():
            if f"cost/{name}" not in found.data.metrics:  # it is there already if an earlier process died in between
                self._client.log_metric(run, f"cost/{name}", value, step=0)
        self._client.log_artifact(run, str(initial_mask_file(folder, key=record["key"])))
        self._close(run, TrialStatus.FINISHED)

    def run_of(self, key: str) -> str:
        """Return the run id of a trial that was begun."""
        return self._children[key]

    def tag_parent(self, tags: Mapping[str, str]) -> None:
        """Set tags on the parent run."""
        for name, value in tags.items():
            self._client.set_tag(self.parent, name, value)

    def attach(self, path: Path, *, folder: str | None = None) -> None:
        """Attach a file or a folder to the parent run."""
        if path.is_dir():
            self._client.log_artifacts(self.parent, str(path), folder)
        else:
            self._client.log_artifact(self.parent, str(path), folder)

    def end(self, status: str, *, time: int) -> None:
        """Close the parent run with the end time ``time``, in milliseconds since 1970."""
        self._close(self.parent, status, time=time)

    def _close(self, run: str, status: str, *, time: int | None = None) -> None:
        """Close a run. The tag is written last, so that a later process completes a run whose writer died before it."""
        self._client.set_terminated(run, status=MLFLOW_STATUS[status], end_time=time)
        self._client.set_tag(run, run_tags.STATUS, status)

    def _open_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self._study)
        if experiment is None:
            tags = {run_tags.STUDY: self._study, **TRAINING_KIND}
            return str(self._client.create_experiment(self._study, tags=tags))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    @property
    def _of_launch(self) -> str:
        return condition(run_tags.LAUNCH, self._launch)

    def _find_parent(self) -> str | None:
        wanted = f"{self._of_launch} and {condition(run_tags.KIND, RunKind.LAUNCH)}"
        runs = self._client.search_runs([self._experiment], wanted, max_results=1)
        return runs[0].info.run_id if runs else None

    def _find_children(self) -> dict[str, str]:
        wanted = f"{self._of_launch} and {condition(run_tags.KIND, RunKind.TRIAL)}"
        return {run.data.tags[run_tags.TRIAL_KEY]: run.info.run_id for run in self._search(wanted)}

    def _runs_of_launch(self) -> list[str]:
        """Return the runs of this launch below its parent."""
        wanted = f"{self._of_launch} and {condition(run_tags.KIND, RunKind.LAUNCH, comparison='!=')}"
        return [run.info.run_id for run in self._search(wanted)]

    def _search(self, wanted: str) -> "Iterator[Run]":
        """Yield every run of the experiment that matches an MLflow filter."""
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], wanted, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _find_initial_mask(self, digest: str) -> "Run | None":
        """Return the run of an initial mask of this launch; without a parent run, of any single run; else None."""
        wanted = [condition(run_tags.KIND, RunKind.INITIAL_MASK), condition(run_tags.INITIAL_MASK_DIGEST, digest)]
        wanted += [self._of_launch] if self.parent else []
        runs = self._client.search_runs([self._experiment], " and ".join(wanted), max_results=1)
        return runs[0] if runs else None

    def _seen_in(self, key: str, run: str) -> set[tuple[str, int]]:
        """Return the (metric, step) pairs that a run holds; read once: an earlier process may have written some."""
        if key not in self._seen:
            names = self._client.get_run(run).data.metrics
            self._seen[key] = {(m.key, m.step) for name in names for m in self._client.get_metric_history(run, name)}
        return self._seen[key]

    def _log_params(self, run: str, params: Mapping[str, object]) -> None:
        items = [library.param(name, _param_text(value)) for name, value in params.items()]
        for start in range(0, len(items), _PARAMS):
            self._client.log_batch(run, params=items[start : start + _PARAMS], synchronous=True)
