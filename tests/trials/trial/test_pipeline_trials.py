"""One trial on 1, 2 or 4 pipeline stages: the same masks, the same curves, the same perplexity, bit for bit."""

import threading
import time

import numpy as np
import pytest

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import DivergedError, PeerError, PipelineLostError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import LinearEngine
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import read_bundle
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource, dense_teacher
from nmlab.trials.parallel.distributed_group import DistributedGroup
from nmlab.trials.trial.run import run_trial

CADENCE = {"log_every": 3, "evaluate_every": 4, "checkpoint_every": 3}
# Groups a layer are no multiple of the width of a vector register, so that a layer's place in a tensor could show.
ODD = {"num_hidden_layers": 4, "hidden_size": 20, "intermediate_size": 28}
LEARNED = {
    "maskpro": {"steps": 9, "initial_mask": "magnitude"},
    "maskpro from wanda, two masks a step": {"steps": 6, "initial_mask": "wanda", "masks_per_step": 2},
    "maskpro by event": {"steps": 6, "initial_mask": "random", "engine": "event"},
    "maskpro by gumbel_topk": {"steps": 6, "sampler": "gumbel_topk", "learning_rate": 20.0},
    "maskpro, losses of masks": {"steps": 6, "loss_masks": 3},
    "maskpro, logits in two bytes": {"steps": 6, "logits": "bfloat16_delta", "masked_weights": "multiplied"},
    "maskpro, a mask a sequence": {
        "steps": 6,
        "mask_per": "sequence",
        "walk_rate": 0.3,
        "learning_rate": None,
        "learning_rate_schedule": "linear",
    },
    "maskpro from saliency": {
        "steps": 6,
        "initial_logits": "saliency",
        "initial_mask": "wanda",
        "engine": "event",
        "mask_per": "sequence",
        "walk_rate": 0.1,
        "learning_rate": None,
    },
    "susi": {"steps": 8, "learning_rate": 0.1},
    "maskllm": {"steps": 6, "learning_rate": 0.1, "weight_regularization": 1e-3, "clip_norm": 0.05},
    "soft_topn": {"steps": 8, "learning_rate": 0.1},
    "soft_topn from wanda": {
        "steps": 6,
        "noise": "gumbel",
        "initial_logits": "saliency",
        "initial_mask": "wanda",
    },
    "simple": {"steps": 8, "learning_rate": 0.1},
    "simple from gblm": {"steps": 6, "initial_logits": "saliency", "initial_mask": "gblm"},
    "soft_topn from first_order": {"steps": 6, "initial_logits": "first_order", "initial_mask": "sparsegpt_mask"},
    "maskpro from first_order": {"steps": 6, "initial_mask": "first_order:magnitude"},
    "susi, excluding": {"steps": 6, "learning_rate": 0.1, "exclude_argmax": True},
    "susi, straight through": {"steps": 6, "learning_rate": 0.1, "straight_through": True},
    "susi that distills": {"steps": 6, "learning_rate": 0.1, "objective": "distill"},
    "maskllm that distills, pulled": {"steps": 6, "learning_rate": 0.1, "objective": "distill", "start_pull": 0.5},
    "soft_topn, pulled": {"steps": 6, "initial_logits": "saliency", "initial_mask": "wanda", "start_pull": 0.5},
    "simple that distills": {"steps": 6, "learning_rate": 0.1, "objective": "distill"},
    "maskpro that distills, a mask a sequence": {"steps": 6, "mask_per": "sequence", "objective": "distill"},
    "maskpro that distills": {
        "steps": 6,
        "masks_per_step": 2,
        "loss_masks": 2,
        "masked_weights": "multiplied",
        "objective": "distill",
    },
}
FURTHER = {
    "maskpro, a mask a sequence",
    "maskpro that distills",
    "susi, excluding",
    "susi, straight through",
    "maskllm",
    "soft_topn",
    "soft_topn from wanda",
    "soft_topn, pulled",
    "simple",
    "simple that distills",
}
"""Cases of methods and of hyperparameters that others are of too."""
QUICK = {"maskpro", "susi", "susi that distills"}
ONE_SHOT = (
    "dense",
    "magnitude",
    "random",
    "wanda",
    "sparsegpt",
    "sparsegpt_mask",
    "gblm",
    "pruner_zero",
    "first_order",
)


@pytest.fixture
def on_stages(saved, load_stage, run_pipeline, listener, tmp_path):
    """Run a trial on a number of pipeline stages; returns the leader's result, its curve and its folder."""

    def run(spec, stages, *, model=ODD, source=None, folder=None, **behaviour):
        source = source or saved("llama", **model)
        place = tmp_path / (folder or f"{spec.method}-{stages}")
        events = listener(**behaviour)

        def run_rank(pipeline):
            replica = ReplicaContext(load_stage(source, pipeline))
            own = spec.model_copy(update={"model": source})
            return run_trial(
                own, replica=replica, folder=place, events=events if pipeline.leads else None, pipeline=pipeline
            )

        results = run_pipeline(stages, run_rank)
        assert len({(result.status, result.step, result.reason) for result in results}) == 1
        return results[0], events.curve(), place

    return run


def _invariant(result, curve, place):
    """Return everything that must not depend on the number of pipeline stages."""
    curve = {step: {k: v for k, v in values.items() if not k.startswith("memory/")} for step, values in curve.items()}
    masks = read_bundle(place / "mask.safetensors").masks if (place / "mask.safetensors").exists() else {}
    left = {}
    for file in sorted(set(result.artifacts) & {"evaluation.npz", "mask_losses.npz", "line_search.npz"}):
        with np.load(place / file, allow_pickle=False) as arrays:
            left |= {name: arrays[name].tolist() for name in arrays.files}
    metrics = {name: value for name, value in result.metrics.items() if name.startswith(("eval/", "cost/forwards"))}
    return curve, masks_digest(masks), left, metrics, result.model_digest, result.notes, result.artifacts


def _without_cost(found):
    curve, digest, left, metrics, *rest = found
    curve = {step: {k: v for k, v in values.items() if not k.startswith("cost/")} for step, values in curve.items()}
    return curve, digest, left, {k: v for k, v in metrics.items() if not k.startswith("cost/")}, *rest


@pytest.fixture
def learned(make_spec):
    """Return the trial of a case."""
    return lambda case: make_spec(case.split()[0].strip(","), cadence=CADENCE, **LEARNED[case])


@pytest.fixture(scope="module")
def known():
    """What trials on one whole model left, which several tests compare with."""
    return {}


@pytest.fixture
def whole(on_stages, known):
    """Return what a trial on one whole model leaves."""

    def run(spec):
        if spec.key not in known:
            known[spec.key] = _invariant(*on_stages(spec, 1))
        return known[spec.key]

    return run


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.thorough if case in FURTHER else [] if case in QUICK else pytest.mark.slow)
        for case in LEARNED
    ],
)
def test_learning_does_not_depend_on_the_number_of_stages(case, on_stages, whole, learned):
    """Of three stages the second is neither the first nor the last, and the third holds two blocks."""
    spec = learned(case)
    assert len(whole(spec)[0]) > 3
    assert whole(spec) == _invariant(*on_stages(spec, 3))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["susi that distills", "maskpro that distills"])
def test_nor_does_it_on_whether_the_dense_model_runs_again_in_every_step(case, on_stages, whole, learned, monkeypatch):
    """Apart from the cost: the passes of the dense model are those of the steps, not of the minibatches."""
    spec = learned(case)
    kept = whole(spec)
    monkeypatch.setattr(dense_teacher, "KEPT_BYTES", 0)
    again = [_invariant(*on_stages(spec, stages, folder=f"again-{stages}")) for stages in (1, 2)]
    assert again[0] == again[1]
    assert _without_cost(again[0]) == _without_cost(kept)
    assert again[0] != kept


@pytest.mark.slow
@pytest.mark.parametrize("case", ["maskpro", "maskpro, a mask a sequence"])
@pytest.mark.parametrize("stages", [2, 4])
def test_nor_does_it_on_two_or_on_a_stage_for_every_block(stages, case, on_stages, whole, learned):
    spec = learned(case)
    assert whole(spec) == _invariant(*on_stages(spec, stages))


@pytest.mark.slow
@pytest.mark.parametrize("method", ONE_SHOT)
def test_one_shot_methods_do_not_depend_on_it_either(method, on_stages, make_spec):
    spec = make_spec(method)
    assert _invariant(*on_stages(spec, 1)) == _invariant(*on_stages(spec, 3))


@pytest.mark.slow
def test_the_gradient_and_the_line_search_of_a_start_are_the_same_on_any_stages(on_stages, make_spec):
    spec = make_spec("first_order", initial_mask="sparsegpt_mask", pattern="4:8")
    sizes = {"num_hidden_layers": 4}
    one = _invariant(*on_stages(spec, 1, model=sizes))
    assert len(one[2]["loss_S"]) == 9
    assert one == _invariant(*on_stages(spec, 2, model=sizes)) == _invariant(*on_stages(spec, 4, model=sizes))


LARGER = {"hidden_size": 84, "intermediate_size": 172}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "pattern", "sizes"),
    [
        *((method, "2:4", LARGER) for method in ("maskpro", "soft_topn")),
        ("susi", "1:4", ODD),
        ("maskllm", "2:8", {}),
        *(pytest.param(method, "2:4", LARGER, marks=pytest.mark.thorough) for method in ("susi", "simple", "maskllm")),
        *(pytest.param(method, "2:8", {}, marks=pytest.mark.thorough) for method in ("maskpro", "soft_topn", "simple")),
    ],
)
def test_other_patterns_and_larger_models(method, pattern, sizes, on_stages, make_spec):
    """The larger model has more groups than are processed at a time."""
    spec, model = make_spec(method, pattern=pattern, steps=4, cadence=CADENCE), {"num_hidden_layers": 4, **sizes}
    assert _invariant(*on_stages(spec, 1, model=model)) == _invariant(*on_stages(spec, 4, model=model))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["maskpro", "susi", "soft_topn"])
def test_a_stopped_trial_on_two_stages_resumes_at_its_step(method, on_stages, whole, learned):
    spec = learned(method)
    stopped, _, place = on_stages(spec, 2, folder="again", cancel_at=4)
    assert (stopped.status, stopped.step) == ("stopped", 4)
    assert sorted(path.name for path in place.iterdir()) == ["shard-0-of-2", "shard-1-of-2"]
    assert _invariant(*on_stages(spec, 2, folder="again")) == whole(spec)


def test_stages_resume_from_the_newest_checkpoint_that_all_have(on_stages, whole, learned):
    spec = learned("maskpro")
    _, _, place = on_stages(spec, 2, folder="again", cancel_at=6)
    newest = {rank: sorted((place / f"shard-{rank}-of-2").glob("checkpoint-*")) for rank in (0, 1)}
    assert [path.name for path in newest[0]] == [path.name for path in newest[1]]
    newest[0][-1].unlink()
    newest[1][-2].write_bytes(b"damaged")
    assert _invariant(*on_stages(spec, 2, folder="again")) == whole(spec)


def test_all_stages_end_a_diverged_trial_with_one_result(on_stages, make_spec):
    spec = make_spec("maskpro", learning_rate=1e6, steps=300, estimator="residual")
    result, _, _ = on_stages(spec, 2, source=ModelSource(source="builtin:tiny"))
    assert result.status == "diverged"
    assert "worse than guessing" in result.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "ending", "rank"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "oom", 1),
        (DivergedError("the inputs are not finite"), "diverged", 2),
        *((KeyError("no such layer"), "other", rank) for rank in (0, 1, 2)),
    ],
)
def test_an_error_on_one_stage_ends_the_trial_on_all_and_the_next_one_runs(
    error, ending, rank, saved, load_stage, run_pipeline, listener, make_spec, tmp_path, monkeypatch
):
    source = saved("llama", num_hidden_layers=4)
    spec, descend = make_spec("maskpro", steps=4).model_copy(update={"model": source}), LinearEngine.descend
    failing = threading.local()

    def fail_once(engine, draws, **options):
        if failing.countdown == 0:
            raise error
        failing.countdown -= 1
        return descend(engine, draws, **options)

    monkeypatch.setattr(LinearEngine, "descend", fail_once)

    def run_rank(pipeline):
        replica = ReplicaContext(load_stage(source, pipeline))
        ends = []
        for folder, countdown in (("first", 2 if pipeline.rank == rank else -1), ("second", -1)):
            failing.countdown = countdown
            try:
                result = run_trial(
                    spec, replica=replica, folder=tmp_path / folder, events=listener(), pipeline=pipeline
                )
                ends.append((result.status, result.step, result.reason))
            except (KeyError, PeerError) as raised:
                ends.append(raised)
        return ends

    ended = run_pipeline(3, run_rank)
    assert [second for _, second in ended] == [("finished", 4, "")] * 3
    if ending == "other":
        assert isinstance(ended[rank][0], KeyError)
        others = [first for place, (first, _) in enumerate(ended) if place != rank]
        assert {str(first) for first in others} == {f"pipeline stage {rank}: KeyError: 'no such layer'"}
    else:
        assert {(status, reason) for (status, _, reason), _ in ended} == {(ending, str(error))}


def test_all_ranks_notice_one_that_is_lost_for_good(run_pipeline, monkeypatch):
    monkeypatch.setattr(DistributedGroup, "_connect", _connect_once(DistributedGroup._connect))

    def run_rank(pipeline):
        if pipeline.rank == 1:
            pipeline._disconnect()  # as if its process had died
            return None
        with pytest.raises(PeerError, match="lost the connection to another"):
            pipeline.all_gather(pipeline.rank)
        with pytest.raises(PipelineLostError, match="lost the other stages"):
            pipeline.recover(PeerError())
        return "noticed"

    assert run_pipeline(3, run_rank) == ["noticed", None, "noticed"]


def _connect_once(connect):
    """Fail from the second connection on, as a store whose other clients are dead does after its timeout."""

    def once(pipeline):
        if pipeline._generation:
            raise RuntimeError("wait timeout")
        connect(pipeline)

    return once


def test_two_trials_in_flight_share_what_is_computed_once(saved, run_pipeline, listener, make_spec, tmp_path):
    """No deadlock, whichever pipeline group comes first on whichever stage."""
    source = saved("llama", num_hidden_layers=4)
    replicas, guard = {}, threading.Lock()
    specs = {
        f"slot-{slot}": make_spec("maskpro", steps=5, initial_mask="wanda", seed=slot).model_copy(
            update={"model": source}
        )
        for slot in range(3)
    }

    def run_rank(pipeline):
        frozen = FrozenModel.load(source, pipeline=pipeline)
        with guard:
            replica = replicas.setdefault(pipeline.rank, ReplicaContext(frozen, initial_masks=tmp_path / "masks"))
        time.sleep(0.02 * ((pipeline.rank + int(pipeline.name[-1])) % 3))
        folder = tmp_path / pipeline.name
        result = run_trial(specs[pipeline.name], replica=replica, folder=folder, events=listener(), pipeline=pipeline)
        return result.status, tuple(result.initial_masks)

    ended = run_pipeline(2, run_rank, slots=3)
    assert set(ended) == {("finished", ended[0][1])}
    assert len(list((tmp_path / "masks").glob("*/mask.safetensors"))) == 1


def test_two_trials_in_flight_keep_both_stages_busy(saved, run_pipeline, make_spec):
    """Blocks that sleep, one at a time on a stage, simulate computation; counted is how often both stages compute."""
    source, calibration = saved("llama", num_hidden_layers=2), make_spec().calibration
    cores, steps, at_work, together = [threading.Lock(), threading.Lock()], 10, set(), []

    def run_rank(pipeline):
        def compute(*_):
            with cores[pipeline.rank]:
                at_work.add(pipeline.rank)
                together.append(len(at_work) == 2)
                time.sleep(0.04)
                at_work.discard(pipeline.rank)

        frozen = FrozenModel.load(source, pipeline=pipeline)
        model = MaskedModel(frozen, pipeline=pipeline)
        method, context = (
            registry.get("maskpro"),
            TrialContext(ReplicaContext(frozen), model, Pattern(2, 4), calibration, seed=0),
        )
        run = method.start(context, method.configure({"steps": steps}))
        model.module.model.layers[pipeline.rank].register_forward_pre_hook(compute)
        pipeline.all_gather(None)
        for step in range(steps):
            run.step(step)

    def times_together(slots):
        together.clear()
        run_pipeline(2, run_rank, slots=slots)
        return sum(together)

    assert times_together(1) == 0, "the stages of one trial take turns"
    assert times_together(2) >= steps // 2
