"""A small real study in a real sqlite store, written with MLflow's own client as the platform writes it."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from quick_stores import empty_store, quick_stores

from nmlab.reports.analysis.analysis import Analysis, analyse
from nmlab.reports.analysis.configurations import Configuration, configurations_of
from nmlab.reports.analysis.evaluation_check import EvaluationCheck, check_evaluations
from nmlab.reports.read.collect import StudyRuns, collect
from nmlab.reports.read.evaluations import read_evaluations
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.store import RunStore, open_store
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.render.document import Document
from nmlab.reports.report import document_of

START = 1_790_000_000_000  # milliseconds: 2026-09-21
WINDOWS, TOKENS, WORDS = 12, 100, 60
VALIDATION_WINDOWS = 15
NEUTRAL_WINDOWS = 12
DATA = {"model.source": "builtin:tiny", "data.evaluation.source": "builtin:python-docs"}
CODE = {
    "nmlab.git_commit": "0123456789abcdef0123456789abcdef01234567",
    "nmlab.git_dirty": "false",
    "nmlab.versions": json.dumps({"nmlab": "0.1.0", "torch": "2.13.0"}),
    "nmlab.model_digest": "sha256:aa11",
    "nmlab.data_digest": "sha256:bb22",
}
PARENT = {
    "nmlab.kind": "study",
    "nmlab.hardware": json.dumps({"cpu": "2 cores", "gpu": "none"}),
    "nmlab.frozen_weights": "verified",
}


def digest(*parts: object) -> str:
    """Eight hex digits of some values."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Trial:
    """One child run to write; ``final`` and ``initial`` are token perplexities."""

    method: str
    seed: int
    final: float | None
    initial: float | None = None
    params: dict[str, str] = field(default_factory=dict)
    role: str = "search"
    status: str = "finished"
    reason: str = ""
    residual: Sequence[float] = ()
    pattern: str = "2:4"
    keeps_losses: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    question_outcomes: dict[str, Sequence[int]] = field(default_factory=dict)
    start: str = "eval"
    """Where its start is recorded: ``initial``, ``eval`` (earlier versions), or ``both`` (resumed later)."""
    has_cost: bool = True
    validation: float | None = None
    """Its final perplexity on validation text; its start is then measured there, and recorded as ``initial``."""

    neutral: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    """Its final perplexity on each neutral text, and that of its start."""

    @property
    def configuration(self) -> str:
        """Eight hex digits of method, pattern and setting, the seed left out."""
        return digest(self.method, self.pattern, sorted(self.params.items()))


class StudyWriter:
    """Writes studies into one store in the layout that platform and reports share."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self.client = MlflowClient(tracking_uri=uri)
        self.artifacts = artifacts
        self.clock = START

    def launch(
        self,
        study: str,
        trials: Sequence[Trial],
        *,
        name: str,
        tags: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> str:
        """Write one launch with its child runs and return the parent's run id."""
        found = self.client.get_experiment_by_name(study)
        location = self.artifacts.as_uri()
        experiment = found.experiment_id if found else self.client.create_experiment(study, location)
        status = {"nmlab.launch": name, "nmlab.status": "finished", "nmlab.planned": str(len(trials))}
        parent = self._run(experiment, {**PARENT, **CODE, **status, **(tags or {})})
        settings = {"method": "maskpro", "search.metric": "eval/perplexity", "search.mode": "min", **DATA}
        self.client.log_batch(parent, params=_params({**settings, **(params or {})}))
        for trial in trials:
            self._child(experiment, parent, trial)
        self.client.set_terminated(parent, end_time=self._tick())
        return parent

    def _child(self, experiment: str, parent: str, trial: Trial) -> None:
        own = {
            "mlflow.parentRunId": parent,
            "nmlab.kind": "trial",
            "nmlab.trial_key": f"{trial.configuration}{trial.seed:08x}",
            "nmlab.configuration": trial.configuration,
            "nmlab.role": trial.role,
            "nmlab.status": trial.status,
        }
        reason = {"nmlab.status_reason": trial.reason} if trial.reason else {}
        run = self._run(experiment, {**CODE, **own, **reason, **trial.tags})
        shown = {"method": trial.method, "pattern": trial.pattern, "seed": str(trial.seed)}
        self.client.log_batch(run, params=_params({**shown, **DATA, **trial.params}), metrics=_metrics(trial))
        if trial.final is not None and trial.keeps_losses:
            self._losses(run, trial)
        if trial.question_outcomes:
            self._questions(run, trial)
        self.client.set_terminated(run, end_time=self._tick())

    def _losses(self, run: str, trial: Trial) -> None:
        arrays = {
            "window_loss_sum": np.full(WINDOWS, TOKENS * np.log(trial.final)),
            "window_tokens": np.full(WINDOWS, TOKENS, dtype=np.int64),
            "window_words": np.full(WINDOWS, WORDS, dtype=np.int64),
        }
        if trial.validation is not None:
            arrays |= {
                "validation_loss_sum": np.full(VALIDATION_WINDOWS, TOKENS * np.log(trial.validation)),
                "validation_tokens": np.full(VALIDATION_WINDOWS, TOKENS, dtype=np.int64),
                "validation_words": np.full(VALIDATION_WINDOWS, WORDS, dtype=np.int64),
            }
        if trial.initial is not None:
            name, windows = ("initial_window_loss_sum", WINDOWS)
            if trial.validation is not None:
                name, windows = ("initial_validation_loss_sum", VALIDATION_WINDOWS)
            arrays[name] = np.full(windows, TOKENS * np.log(trial.initial))
        for text, (final, start) in trial.neutral.items():
            losses = {"window_loss_sum": final, **({} if start is None else {"initial_window_loss_sum": start})}
            arrays |= {
                f"neutral/{text}/{name}": np.full(NEUTRAL_WINDOWS, TOKENS * np.log(value))
                for name, value in losses.items()
            }
            arrays[f"neutral/{text}/window_tokens"] = np.full(NEUTRAL_WINDOWS, TOKENS, dtype=np.int64)
            arrays[f"neutral/{text}/window_words"] = np.full(NEUTRAL_WINDOWS, WORDS, dtype=np.int64)
        self._archive(run, "evaluation.npz", arrays)

    def _questions(self, run: str, trial: Trial) -> None:
        arrays: dict[str, np.ndarray] = {}
        for task, outcomes in trial.question_outcomes.items():
            arrays[f"{task}/question"] = np.array([f"{task}{number:06d}" for number in range(len(outcomes))])
            arrays[f"{task}/acc"] = np.asarray(outcomes, dtype=float)
            arrays[f"{task}/log_likelihoods"] = np.zeros((len(outcomes), 2))
        self._archive(run, "tasks.npz", arrays)

    def _archive(self, run: str, name: str, arrays: dict[str, np.ndarray]) -> None:
        content = io.BytesIO()
        np.savez(content, **arrays)
        path = self.artifacts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())
        self.client.log_artifact(run, str(path))

    def _run(self, experiment: str, tags: dict[str, str]) -> str:
        run = self.client.create_run(experiment, start_time=self._tick(), tags=tags)
        return str(run.info.run_id)

    def _tick(self) -> int:
        self.clock += 1000
        return self.clock


def _params(values: dict[str, str]) -> list[Param]:
    return [Param(name, value) for name, value in values.items()]


def _metrics(trial: Trial) -> list[Metric]:
    last = len(trial.residual)
    points = [Metric("train/residual", value, START, step) for step, value in enumerate(trial.residual, start=1)]
    begins = {"both": ("eval", "initial")}.get(trial.start, (trial.start,))
    begins = begins if trial.validation is None else ("initial",)
    ends = ((last, trial.final, ("eval",)), (last, trial.validation, ("validation",)))
    neutral = [
        point
        for text, (final, start) in trial.neutral.items()
        for point in ((0, start, (f"initial/neutral/{text}",)), (last, final, (f"neutral/{text}",)))
    ]
    for step, value, families in ((0, trial.initial, begins), *ends, *neutral):
        if value is not None:
            words = float(np.exp(np.log(value) * TOKENS / WORDS)) if value > 0 else value
            pairs = {"perplexity": value, "token_perplexity": value, "word_perplexity": words}
            points += [Metric(f"{each}/{name}", own, START, step) for each in families for name, own in pairs.items()]
    if not trial.has_cost:
        return points
    cost = {"cost/seconds": 1.0 + last / 10, "cost/forwards": float(last + 1), "memory/peak_bytes": 2.0**27}
    split = {"time/sample_s": 0.001, "time/forward_s": 0.008, "time/update_s": 0.001, "time/step_s": 0.01}
    accuracies = {f"eval/{task}/acc": float(np.mean(outcomes)) for task, outcomes in trial.question_outcomes.items()}
    plain = {**cost, **(split if last else {}), **accuracies, **trial.metrics}
    return [*points, *(Metric(name, value, START, last) for name, value in plain.items())]


def falling(depth: float, *, steps: int = 100) -> list[float]:
    """A residual that starts at zero and falls to ``-depth``, with a ripple."""
    return [-depth * (1 - np.exp(-3 * step / steps)) + 0.01 * np.sin(step) for step in range(steps)]


ALPHAS = {"0.99": 80.0, "0.95": 85.0, "0.9": 95.0, "0.995": 100.0, "0.7": 130.0}
INITIAL = 120.0


def small_study() -> list[Trial]:
    """Dense, magnitude, wanda, and five alphas x three seeds of which one diverged and one failed.

    The seeds of alpha a end at ALPHAS[a] - 2, ALPHAS[a] and ALPHAS[a] + 2; initial masks at 119, 120 and 121.
    """
    trials = [
        Trial("dense", 0, 40.0, role="baseline"),
        Trial("magnitude", 0, 140.0, role="baseline"),
        Trial("wanda", 0, INITIAL, role="baseline"),
    ]
    for alpha, mean in ALPHAS.items():
        params = {"alpha": alpha, "logit_magnitude": "6", "steps": "100", "initial_mask": "wanda"}
        for seed in range(3):
            ended = {"status": "finished"}
            if (alpha, seed) == ("0.7", 2):
                ended = {"status": "diverged", "reason": "loss became nan at step 3"}
            if (alpha, seed) == ("0.9", 1):
                ended = {"status": "failed", "reason": "killed by the system"}
            done = ended["status"] == "finished"
            trials.append(
                Trial(
                    "maskpro",
                    seed,
                    mean + 2.0 * (seed - 1) if done else None,
                    INITIAL + seed - 1 if done else None,
                    params=params,
                    residual=falling((INITIAL - mean) / 100),
                    **ended,
                )
            )
    return trials


@pytest.fixture(scope="session", autouse=True)
def _quick_stores() -> Iterator[None]:
    with quick_stores():
        yield


@pytest.fixture(scope="session")
def new_store(made_once: Callable[..., Path], _quick_stores: None) -> Callable[[Path], str]:
    """Return a function that puts an empty store into a folder."""

    def put(folder: Path) -> str:
        shutil.copy(empty_store(made_once), folder)
        return f"sqlite:///{folder / 'nmlab.db'}"

    return put


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> StudyWriter:
    """One store for all tests; each test adds studies of its own."""
    folder = tmp_path_factory.mktemp("store")
    return StudyWriter(new_store(folder), folder / "artifacts")


@pytest.fixture(scope="session")
def store_writer(new_store: Callable[[Path], str]) -> Callable[[Path], StudyWriter]:
    """A maker of writers into a store of their own: store_writer(tmp_path)."""
    return lambda folder: StudyWriter(new_store(folder), folder / "artifacts")


@pytest.fixture(scope="session")
def store(writer: StudyWriter) -> RunStore:
    """The store, with the study ``maskpro-alpha`` in it."""
    writer.launch("maskpro-alpha", small_study(), name="maskpro-alpha-1")
    return open_store(writer.uri)


@pytest.fixture(scope="session")
def trial() -> type[Trial]:
    """The kind of run that a test writes."""
    return Trial


@pytest.fixture(scope="session")
def runs(store: RunStore) -> StudyRuns:
    """The small study, collected."""
    return collect(store, study="maskpro-alpha")


@pytest.fixture(scope="session")
def configurations(runs: StudyRuns) -> tuple[Configuration, ...]:
    """Its configurations, best first."""
    return configurations_of(runs)


@pytest.fixture(scope="session")
def analysis(store: RunStore, runs: StudyRuns) -> Analysis:
    """The small study, compared."""
    return analyse(store, runs=runs)


@pytest.fixture(scope="session")
def document(store: RunStore) -> Document:
    """Its report, with every figure drawn."""
    return document_of(store, study="maskpro-alpha")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures of reports, which take most of the time, where a test is about something else."""
    monkeypatch.setattr("nmlab.reports.report.study_figures", lambda _: ())


@pytest.fixture
def checked(store: RunStore) -> Callable[[Sequence[TrialRecord]], EvaluationCheck | None]:
    """Check some runs against their per-window losses."""

    def check(trials: Sequence[TrialRecord]) -> EvaluationCheck | None:
        found = read_evaluations(store, run_ids=[trial.run_id for trial in trials])
        return check_evaluations(found, trials=trials)

    return check


@pytest.fixture
def configuration() -> Callable[..., Configuration]:
    """A maker of configurations that need no store: settings and one final value per seed."""

    def make(
        values: Sequence[float],
        *,
        method: str = "maskpro",
        mode: str = "min",
        role: str = "search",
        depends_on_seed: str = "unknown",
        **settings: object,
    ) -> Configuration:
        key = digest(method, role, sorted(settings.items()))
        trials = tuple(
            TrialRecord(
                run_id=f"{key}-{seed}",
                trial_key="",
                configuration=key,
                role=role,
                method=method,
                pattern="2:4",
                seed=seed,
                status="finished" if np.isfinite(value) else "diverged",
                depends_on_seed=depends_on_seed,
                settings=dict(settings),
                metrics={} if np.isnan(value) else {"eval/perplexity": float(value)},
            )
            for seed, value in enumerate(values)
        )
        return Configuration(key, method, "2:4", role, dict(settings), trials, Objective("eval/perplexity", mode))

    return make
