"""The conformance suite of methods: subclass ``MethodConformance``, name the method, and run pytest."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import safetensors.torch
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
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, MethodConfig, Run, TrialContext
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.finished import load_finished
from nmlab.trials.testing.held import held_bytes
from nmlab.trials.testing.small import BATCH, LENGTH, small_replica, small_spec, small_text
from nmlab.trials.trial.outcome import TrialResult
from nmlab.trials.trial.run import run_trial

PATTERNS = ("1:4", "2:4", "2:8", "4:8", "8:16")
KINDS: Mapping[str, Mapping[str, Any]] = {"float32": {}, "bfloat16": {"dtype": "bfloat16"}, "tied": {"tied": True}}
STEPS = 4
_SLACK = 512  # bytes: counters and the like

COMBINATIONS = [(pattern, "float32") for pattern in PATTERNS] + [("2:4", kind) for kind in KINDS if kind != "float32"]
"""Every pattern with the first kind of model, and every kind of model with 2:4."""

every_pattern_and_model = pytest.mark.parametrize(("pattern", "replica"), COMBINATIONS, indirect=["replica"])
every_model = pytest.mark.parametrize("replica", KINDS, indirect=True)


class MethodConformance:
    """Tests that every method must pass, for five patterns in float32 and for two more kinds of model at 2:4.

    Where the method refuses a pattern, its tests are skipped with the reason.
    """

    name: ClassVar[str]
    """The registered name of the method."""

    def hyperparameters(self, method: Method) -> Hyperparameters:
        """Return hyperparameters for these tests, beside ``steps``, that differ from the defaults."""
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

    @pytest.fixture
    def replica(self, replicas: dict[str, ReplicaContext], request: pytest.FixtureRequest) -> ReplicaContext:
        """Return the replica context of the kind that a test asks for, float32 by default."""
        kind = getattr(request, "param", "float32")
        if kind not in replicas:
            replicas[kind] = small_replica(**KINDS[kind])
        return replicas[kind]

    @pytest.fixture(scope="class", autouse=True)
    def one_thread(self) -> Iterator[None]:
        """Use one thread: with tensors this small a second one costs time."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    @every_pattern_and_model
    def test_masks_are_exact_and_frozen_weights_untouched(
        self, method: Method, replica: ReplicaContext, text: Path, pattern: str
    ) -> None:
        run = self._start(method, self._context(replica, text, pattern))
        self._assert_exact(run.masks(), replica=replica, method=method, pattern=pattern)
        initial = run.initial_masks()
        _walk(run)
        self._assert_exact(run.masks(), replica=replica, method=method, pattern=pattern)
        assert (initial is not None) is method.learned, "a learned run has masks that it starts from, no other has"
        if initial is not None:
            self._assert_exact(initial, replica=replica, method=method, pattern=pattern)
        assert replica.frozen.unchanged()
        assert all(p.grad is None and not p.requires_grad for p in replica.frozen.module.parameters())

    @every_pattern_and_model
    def test_one_seed_gives_one_result(self, method: Method, replica: ReplicaContext, text: Path, pattern: str) -> None:
        first, second = (self._start(method, self._context(replica, text, pattern)) for _ in range(2))
        assert _walk(first) == _walk(second)
        _assert_same(first.masks(), second.masks())
        _assert_same(first.weights() or {}, second.weights() or {})
        _assert_same(first.state(), second.state())
        assert first.observe() == second.observe()

    @every_pattern_and_model
    def test_a_run_goes_on_from_its_saved_state(
        self, method: Method, replica: ReplicaContext, text: Path, pattern: str
    ) -> None:
        """A run that continues from the saved state of another gives the values of an uninterrupted run."""
        undisturbed, before, after = (self._start(method, self._context(replica, text, pattern)) for _ in range(3))
        recorded, half = _walk(undisturbed), undisturbed.steps // 2
        assert [dict(before.step(step)) for step in range(half)] == recorded[:half]
        after.load_state(safetensors.torch.load(safetensors.torch.save(_plain(before.state()))))
        assert _walk(after, begin=half) == recorded[half:]
        _assert_same(after.masks(), undisturbed.masks())
        _assert_same(after.state(), undisturbed.state())

    @every_pattern_and_model
    def test_its_memory_is_what_it_declares(
        self, method: Method, replica: ReplicaContext, text: Path, pattern: str
    ) -> None:
        """``state_bytes`` is within a tenth of the bytes of all tensors that only the run keeps alive."""
        context = self._context(replica, text, pattern)
        run = self._start(method, context)
        _walk(run)
        run.observe()
        context.model.remove_masks()  # masked weights are counted separately, as memory/masked_weight_bytes
        found = held_bytes(run, apart_from=[replica, context.model])
        assert run.state_bytes == pytest.approx(found, rel=0.1, abs=_SLACK)

    def test_its_diagnostics_change_nothing(self, method: Method, replica: ReplicaContext, text: Path) -> None:
        context = self._context(replica, text)
        run = self._start(method, context)
        _walk(run)
        masks, state, bill = dict(run.masks()), {k: v.clone() for k, v in run.state().items()}, context.cost.bill
        diagnostics = run.diagnostics(lambda: False)
        assert diagnostics is not None, "diagnostics return None only when they are cancelled"
        assert all(name.endswith(".npz") for name in diagnostics)
        _assert_same(run.masks(), masks)
        _assert_same(run.state(), state)
        assert context.cost.bill == bill

    def test_the_seed_matters_where_the_method_says_so(
        self, method: Method, replica: ReplicaContext, text: Path
    ) -> None:
        first, second = (self._start(method, self._context(replica, text, seed=seed)) for seed in (0, 1))
        _walk(first)
        _walk(second)
        mine, others = ({**run.masks(), **run.state()} for run in (first, second))
        same = all(torch.equal(mine[key], others[key]) for key in mine)
        assert same is not method.depends_on_seed

    def test_every_step_records_the_same_names(self, method: Method, replica: ReplicaContext, text: Path) -> None:
        """Curves are columns: a quantity that is missing at some steps would be shifted against the others."""
        run = self._start(method, self._context(replica, text))
        assert (run.steps > 0) is method.learned
        recorded = _walk(run)
        assert all(values.keys() == recorded[0].keys() for values in recorded)
        every = {**(recorded[0] if recorded else {}), **run.observe()}
        assert ("train/loss" in every) is method.learned
        assert all(key.startswith("train/") for key in every)
        assert all(isinstance(value, float | int) for values in [*recorded, every] for value in values.values())
        if own := registry.metrics_of(method.name):
            assert every.keys() <= {metric.name for metric in (*COMMON, *own)}, (
                "a method that declares any declares all"
            )

    def test_its_passes_are_accounted_for(self, method: Method, replica: ReplicaContext, text: Path) -> None:
        context = self._context(replica, text)
        run = self._start(method, context)
        before = Cost(**vars(context.cost))
        _walk(run)
        assert context.cost.forwards - before.forwards >= run.steps
        assert context.cost.tokens - before.tokens >= run.steps * BATCH * LENGTH
        assert (context.cost.trainable_params > 0) is method.learned

    @pytest.mark.parametrize("limited", ["tokens", "forwards", "seconds"])
    def test_it_stops_at_a_budget(
        self, method: Method, replica: ReplicaContext, text: Path, tmp_path: Path, limited: str
    ) -> None:
        """A learned run stops at the first step that reaches the limit; one that cannot stop says so in a note."""
        context = self._context(replica, text)
        start = self._start(method, context).steps and getattr(context.cost.bill, limited)
        limit = {"tokens": start + BATCH * LENGTH + 1, "forwards": start + 2, "seconds": 1e-9}[limited]
        result = self._trial(method, replica, text=text, folder=tmp_path, budget={limited: limit})
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
        self, method: Method, replica: ReplicaContext, text: Path, tmp_path: Path
    ) -> None:
        undisturbed = self._trial(method, replica, text=text, folder=tmp_path / "one")
        stopped = self._trial(method, replica, text=text, folder=tmp_path / "other", stop_at=STEPS // 2)
        assert (stopped.status == TrialStatus.STOPPED) is method.learned
        resumed = self._trial(method, replica, text=text, folder=tmp_path / "other")
        assert resumed.status == undisturbed.status == TrialStatus.FINISHED
        assert resumed.step == undisturbed.step
        for name in ("eval/perplexity", "cost/forwards", "cost/tokens"):
            assert resumed.metrics[name] == undisturbed.metrics[name]
        if method.sparse:
            one, other = (tmp_path / folder / MASK_FILE for folder in ("one", "other"))
            assert one.read_bytes() == other.read_bytes(), "equal runs leave the same bytes"

    @every_model
    def test_its_artifacts_are_what_was_evaluated(
        self, method: Method, replica: ReplicaContext, text: Path, tmp_path: Path
    ) -> None:
        result = self._trial(method, replica, text=text, folder=tmp_path)
        if not method.sparse:
            pytest.skip(f"{method.name} leaves no mask")
        spec, model = self._spec(method, text), MaskedModel(replica.frozen)
        load_finished(tmp_path).apply_to(model)
        again = measure_perplexity(model, replica.held_out(spec.evaluation), batch_size=spec.evaluation.batch_size)
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

    def _context(self, replica: ReplicaContext, text: Path, pattern: str = "2:4", *, seed: int = 0) -> TrialContext:
        return TrialContext(
            replica=replica,
            model=MaskedModel(replica.frozen),
            pattern=Pattern.parse(pattern),
            calibration=small_spec("dense", text=text).calibration,
            seed=seed,
        )

    def _start(self, method: Method, context: TrialContext) -> Run:
        if reason := method.unsupported_reason(context.pattern, self._config(method)):
            pytest.skip(reason)
        return method.start(context, self._config(method))

    def _spec(self, method: Method, text: Path, **fields: Any) -> TrialSpec:
        return small_spec(method.name, text=text, hyperparameters=self._config(method).model_dump(), **fields)

    def _trial(
        self,
        method: Method,
        replica: ReplicaContext,
        *,
        text: Path,
        folder: Path,
        stop_at: int | None = None,
        **fields: Any,
    ) -> TrialResult:
        spec = self._spec(method, text, cadence={"log_every": 1, "checkpoint_every": 1}, **fields)
        return run_trial(spec, replica=replica, folder=folder, events=_Events(stop_at))

    def _assert_exact(
        self, masks: Mapping[str, Tensor], *, replica: ReplicaContext, method: Method, pattern: str
    ) -> None:
        layers = replica.frozen.layers if method.sparse else ()
        assert masks.keys() == {layer.name for layer in layers}
        for layer in layers:
            assert masks[layer.name].shape == (layer.out_features, layer.in_features)
            check_mask(masks[layer.name], Pattern.parse(pattern), name=layer.name)


class _Events:
    """Ignores values, and cancels the trial once a number of steps was recorded."""

    def __init__(self, stop_at: int | None) -> None:
        self._stop_at, self._step = stop_at, 0

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step

    def cancelled(self) -> bool:
        return self._stop_at is not None and self._step >= self._stop_at


def _walk(run: Run, *, begin: int = 0) -> list[dict[str, float]]:
    return [dict(run.step(step)) for step in range(begin, run.steps)]


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in state.items()}


def _assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
