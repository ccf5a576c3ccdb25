"""The conformance suite of methods: subclass ``MethodConformance``, name the method, and run pytest."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.metrics import COMMON
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_artifacts import MASK_FILE
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.contract.values import Hyperparameters
from nmlab.trials.evaluation import measure_perplexity
from nmlab.trials.masks.topn import check_mask, topn
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, MethodConfig, Run, TrialContext
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.finished import load_finished
from nmlab.trials.testing.held import held_bytes
from nmlab.trials.testing.small import BATCH, LENGTH, small_replica, small_spec, small_text
from nmlab.trials.testing.walk import Walk, copied, take_steps, walk_through
from nmlab.trials.trial.outcome import TrialResult
from nmlab.trials.trial.run import run_trial

PATTERNS = ("1:4", "2:4", "2:8", "4:8", "8:16")
KINDS: Mapping[str, Mapping[str, Any]] = {"float32": {}, "bfloat16": {"dtype": "bfloat16"}, "tied": {"tied": True}}
STEPS = 4
_SLACK = 512  # bytes: counters and the like

Begin = Callable[..., tuple[Run, TrialContext]]
"""Starts a run of the method under test; takes ``seed``."""
Finish = Callable[..., TrialResult]
"""Carries out a trial of the method under test in a folder; takes fields of its specification, and ``stop_at``."""

COMBINATIONS = [(pattern, "float32") for pattern in PATTERNS] + [("2:4", kind) for kind in KINDS if kind != "float32"]
"""Every pattern with the first kind of model, and every kind of model with 2:4."""

every_pattern_and_model = pytest.mark.parametrize(("pattern", "kind"), COMBINATIONS, indirect=True)
every_model = pytest.mark.parametrize("kind", KINDS, indirect=True)


class MethodConformance:
    """Tests that every method must pass, for five patterns in float32 and for two more kinds of model at 2:4.

    Where the method refuses a pattern, its tests are skipped with the reason. Tests that only look at a run share it:
    each combination is walked through once undisturbed (``walk``) and once with its state saved on the way (``again``).
    """

    name: ClassVar[str]
    """The registered name of the method."""

    def hyperparameters(self, method: Method) -> Hyperparameters:
        """Return hyperparameters for these tests, besides ``steps``, that differ from the defaults."""
        return {}

    @pytest.fixture(scope="class")
    def method(self) -> Method:
        return registry.get(self.name)

    @pytest.fixture(scope="class")
    def text(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return small_text(tmp_path_factory.mktemp("text"))

    @pytest.fixture(scope="class")
    def replicas(self) -> dict[str, ReplicaContext]:
        return {}

    @pytest.fixture(scope="class")
    def walks(self, method: Method) -> dict[tuple[str, str, bool], Walk]:
        """Return the walks of a method so far, by pattern, kind of model and whether a state was saved on the way."""
        return {}

    @pytest.fixture
    def pattern(self, request: pytest.FixtureRequest) -> str:
        return str(getattr(request, "param", "2:4"))

    @pytest.fixture
    def kind(self, request: pytest.FixtureRequest) -> str:
        return str(getattr(request, "param", "float32"))

    @pytest.fixture
    def replica(self, replicas: dict[str, ReplicaContext], kind: str) -> ReplicaContext:
        """Return the replica context of the kind that a test asks for."""
        if kind not in replicas:
            replicas[kind] = small_replica(**KINDS[kind])
        return replicas[kind]

    @pytest.fixture
    def begin(self, method: Method, *, replica: ReplicaContext, text: Path, pattern: str) -> Begin:
        """Start a run in a trial context of its own; where the method refuses the pattern, the test is skipped."""
        config, calibration = self._config(method), small_spec("dense", text=text).calibration
        parsed = Pattern.parse(pattern)

        def start(*, seed: int = 0) -> tuple[Run, TrialContext]:
            if reason := method.unsupported_reason(parsed, config):
                pytest.skip(reason)
            context = TrialContext(replica, MaskedModel(replica.frozen), parsed, calibration, seed=seed)
            return method.start(context, config), context

        return start

    @pytest.fixture
    def walk(self, walks: dict[tuple[str, str, bool], Walk], *, begin: Begin, pattern: str, kind: str) -> Walk:
        """Return the undisturbed run of the combination that a test asks for."""
        if (pattern, kind, False) not in walks:
            walks[pattern, kind, False] = walk_through(*begin(), save=False)
        return walks[pattern, kind, False]

    @pytest.fixture
    def again(self, walks: dict[tuple[str, str, bool], Walk], *, begin: Begin, pattern: str, kind: str) -> Walk:
        """Return a second run of the combination that a test asks for; its state was saved after half of its steps."""
        if (pattern, kind, True) not in walks:
            walks[pattern, kind, True] = walk_through(*begin(), save=True)
        return walks[pattern, kind, True]

    @pytest.fixture
    def finish(self, method: Method, replica: ReplicaContext, text: Path) -> Finish:
        """Carry out a trial."""

        def run(folder: Path, *, stop_at: int | None = None, **fields: Any) -> TrialResult:
            spec = self._spec(method, text, cadence={"log_every": 1, "checkpoint_every": 1}, **fields)
            return run_trial(spec, replica=replica, folder=folder, events=_Events(stop_at))

        return run

    @pytest.fixture(scope="class")
    def trials(self, method: Method) -> dict[str, tuple[TrialResult, Path]]:
        """Return the undisturbed trials of a method so far, by kind of model."""
        return {}

    @pytest.fixture
    def finished(
        self,
        trials: dict[str, tuple[TrialResult, Path]],
        *,
        finish: Finish,
        kind: str,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> tuple[TrialResult, Path]:
        """Return the undisturbed trial on the kind of model that a test asks for, and its folder."""
        if kind not in trials:
            folder = tmp_path_factory.mktemp("finished")
            trials[kind] = finish(folder), folder
        return trials[kind]

    @pytest.fixture(scope="class", autouse=True)
    def one_thread(self) -> Iterator[None]:
        """Use one thread: with tensors this small a second one costs time."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    @every_pattern_and_model
    def test_masks_are_exact_and_frozen_weights_untouched(self, method: Method, walk: Walk) -> None:
        self._assert_exact(walk.begun, walk=walk, method=method)
        self._assert_exact(walk.masks, walk=walk, method=method)
        assert (walk.initial is not None) is method.learned, "a learned run has masks that it starts from, no other has"
        if walk.initial is not None:
            self._assert_exact(walk.initial, walk=walk, method=method)
        frozen = walk.context.replica.frozen
        assert frozen.unchanged()
        assert all(p.grad is None and not p.requires_grad for p in frozen.module.parameters())

    @every_pattern_and_model
    def test_one_seed_gives_one_result(self, walk: Walk, again: Walk) -> None:
        assert again.values == walk.values
        _assert_same(again.masks, walk.masks)
        _assert_same(again.weights, walk.weights)
        _assert_same(again.state, walk.state)
        assert again.observed == walk.observed

    @every_pattern_and_model
    def test_a_run_goes_on_from_its_saved_state(self, walk: Walk, again: Walk, begin: Begin) -> None:
        """A run that continues from the saved state of another gives the values of an uninterrupted run."""
        (after, _), half = begin(), walk.run.steps // 2
        after.load_state(dict(again.saved))
        assert again.values[:half] == walk.values[:half]
        assert take_steps(after, begin=half) == walk.values[half:]
        _assert_same(after.masks(), walk.masks)
        _assert_same(after.state(), walk.state)

    @every_pattern_and_model
    def test_its_memory_is_what_it_declares(self, walk: Walk) -> None:
        """``state_bytes`` is within a tenth of the bytes of all tensors that only the run keeps alive."""
        walk.context.model.remove_masks()  # masked weights are counted separately, as memory/masked_weight_bytes
        found = held_bytes(walk.run, apart_from=[walk.context.replica, walk.context.model])
        assert walk.run.state_bytes == pytest.approx(found, rel=0.1, abs=_SLACK)

    @every_pattern_and_model
    def test_its_saliency_is_what_it_chooses_by(self, method: Method, begin: Begin) -> None:
        """The top-N of the scores that a method gives is its mask; one that gives none does not define any."""
        run, context = begin()
        given = [
            name for name in ("saliency", "group_scores") if getattr(type(method), name) is not getattr(Method, name)
        ]
        if not given:
            with pytest.raises(NotImplementedError):
                method.group_scores(context, self._config(method))
        for name in given:
            scores = getattr(method, name)(context, self._config(method))
            assert all(score.dtype == torch.float32 and float(score.min()) >= 0 for score in scores.values())
            _assert_same({layer: topn(score, context.pattern) for layer, score in scores.items()}, run.masks())

    def test_its_diagnostics_change_nothing(self, again: Walk) -> None:
        state, diagnostics = copied(again.run.state()), again.run.diagnostics(lambda: False)
        assert diagnostics is not None, "diagnostics return None only when they are cancelled"
        assert all(name.endswith(".npz") for name in diagnostics)
        _assert_same(again.run.masks(), again.masks)
        _assert_same(again.run.state(), state)
        assert again.context.cost.bill == again.ended

    def test_the_seed_matters_where_the_method_says_so(self, method: Method, walk: Walk, begin: Begin) -> None:
        other, _ = begin(seed=1)
        take_steps(other)
        mine, others = {**walk.masks, **walk.state}, {**other.masks(), **other.state()}
        same = all(torch.equal(mine[key], others[key]) for key in mine)
        assert same is not method.depends_on_seed

    def test_every_step_records_the_same_names(self, method: Method, walk: Walk) -> None:
        """Curves are columns: a quantity that is missing at some steps would be shifted against the others."""
        recorded = walk.values
        assert (walk.run.steps > 0) is method.learned
        assert all(values.keys() == recorded[0].keys() for values in recorded)
        every = {**(recorded[0] if recorded else {}), **walk.observed}
        assert ("train/loss" in every) is method.learned
        assert all(key.startswith("train/") for key in every)
        assert all(isinstance(value, float | int) for values in [*recorded, every] for value in values.values())
        if own := registry.metrics_of(method.name):
            assert every.keys() <= {metric.name for metric in (*COMMON, *own)}, (
                "a method that declares any declares all"
            )

    def test_its_passes_are_accounted_for(self, method: Method, walk: Walk) -> None:
        steps = walk.ended - walk.started
        assert steps.forwards >= walk.run.steps
        assert steps.tokens >= walk.run.steps * BATCH * LENGTH
        assert (walk.context.cost.trainable_params > 0) is method.learned

    @pytest.mark.parametrize("limited", ["tokens", "forwards", "seconds"])
    def test_it_stops_at_a_budget(
        self, method: Method, *, walk: Walk, finish: Finish, tmp_path: Path, limited: str
    ) -> None:
        """A learned run stops at the first step that reaches the limit; one that cannot stop says so in a note."""
        start = walk.run.steps and getattr(walk.started, limited)
        limit = {"tokens": start + BATCH * LENGTH + 1, "forwards": start + 2, "seconds": 1e-9}[limited]
        result = finish(tmp_path, budget={limited: limit})
        assert result.status == TrialStatus.FINISHED
        used, noted = result.metrics[f"cost/{limited}"], any("over the budget" in note for note in result.notes)
        if method.learned and limited != "seconds":
            assert 0 < result.step < STEPS
            assert limit <= used
            assert not noted
        else:
            assert result.step == 0
            assert noted is (used > limit)

    def test_an_interrupted_trial_ends_as_an_undisturbed_one(
        self, method: Method, *, finished: tuple[TrialResult, Path], finish: Finish, tmp_path: Path
    ) -> None:
        undisturbed, folder = finished
        stopped = finish(tmp_path, stop_at=STEPS // 2)
        assert (stopped.status == TrialStatus.STOPPED) is method.learned
        resumed = finish(tmp_path)
        assert resumed.status == undisturbed.status == TrialStatus.FINISHED
        assert resumed.step == undisturbed.step
        for name in ("eval/perplexity", "cost/forwards", "cost/tokens"):
            assert resumed.metrics[name] == undisturbed.metrics[name]
        if method.sparse:
            one, other = (place / MASK_FILE for place in (folder, tmp_path))
            assert one.read_bytes() == other.read_bytes(), "equal runs leave the same bytes"

    @every_model
    def test_its_artifacts_are_what_was_evaluated(
        self, method: Method, *, replica: ReplicaContext, text: Path, finished: tuple[TrialResult, Path]
    ) -> None:
        if not method.sparse:
            pytest.skip(f"{method.name} leaves no mask")
        result, folder = finished
        evaluation, model = self._spec(method, text).evaluation, MaskedModel(replica.frozen)
        load_finished(folder).apply_to(model)
        again = measure_perplexity(model, replica.held_out(evaluation), batch_size=evaluation.batch_size)
        assert again.per_token == result.metrics["eval/token_perplexity"]

    def test_it_travels_between_processes(self, method: Method) -> None:
        config = self._config(method)
        assert type(pickle.loads(pickle.dumps(method))) is type(method)
        assert pickle.loads(pickle.dumps(config)) == config
        assert method.configure(config.model_dump()) == config
        assert method.config.model_validate_json(config.model_dump_json()) == config

    def test_it_explains_itself(self, method: Method) -> None:
        assert method.unsupported_reason(Pattern(2, 4), method.configure({})) is None
        assert all([method.about.summary, method.about.paper, method.about.cost, method.about.patterns])
        assert len(method.about.summary.splitlines()) == 2, "what it does, in two lines"
        for name, field in method.config.model_fields.items():
            assert field.description, f"what {name} does"
            assert not field.is_required(), f"{name} has a default"
        with pytest.raises(ValueError, match="no_such_name"):
            method.configure({"no_such_name": 1})

    def _config(self, method: Method) -> MethodConfig:
        steps = {"steps": STEPS} if "steps" in method.config.model_fields else {}
        return method.configure({**self.hyperparameters(method), **steps})

    def _spec(self, method: Method, text: Path, **fields: Any) -> TrialSpec:
        return small_spec(method.name, text=text, hyperparameters=self._config(method).model_dump(), **fields)

    def _assert_exact(self, masks: Mapping[str, Tensor], *, walk: Walk, method: Method) -> None:
        layers = walk.context.replica.frozen.layers if method.sparse else ()
        assert masks.keys() == {layer.name for layer in layers}
        for layer in layers:
            assert masks[layer.name].shape == (layer.out_features, layer.in_features)
            check_mask(masks[layer.name], walk.context.pattern, name=layer.name)


class _Events:
    """Ignores values, and cancels the trial once a number of steps was recorded."""

    def __init__(self, stop_at: int | None) -> None:
        self._stop_at, self._step = stop_at, 0

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step

    def cancelled(self) -> bool:
        return self._stop_at is not None and self._step >= self._stop_at


def _assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
