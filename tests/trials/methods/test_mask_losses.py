"""Losses of masks drawn from the final logits: their values, and that computing them changes nothing else."""

import numpy as np
import pytest

from nmlab.trials.engines import GroupLayout, MaskKey
from nmlab.trials.masks.bundle import load_bundle
from nmlab.trials.methods import registry
from nmlab.trials.methods.maskpro.mask_losses import mask_keys
from nmlab.trials.models import MaskedModel
from nmlab.trials.trial.run import run_trial

MASKPRO = registry.get("maskpro")
MASKS, BATCHES, STEPS = 5, 3, 12
FILE = "mask_losses.npz"


@pytest.fixture
def learned(make_context):
    """Return a run of some steps and its trial context: learned(engine="event")."""

    def learn(**hyperparameters):
        context = make_context()
        given = {"steps": STEPS, "logit_magnitude": 3.0, "learning_rate": 5.0, "loss_masks": MASKS}
        run = MASKPRO.start(context, MASKPRO.configure({**given, "loss_batches": BATCHES, **hyperparameters}))
        for step in range(run.steps):
            run.step(step)
        return run, context

    return learn


class _Interrupted:
    """Cancels, or crashes, at the ``at``-th call of ``cancelled`` after the last step was recorded."""

    def __init__(self, *, at, crash):
        self._at, self._crash, self._last, self._asked = at, crash, 0, 0

    def metrics(self, step, values):
        self._last = step

    def cancelled(self):
        self._asked += self._last == STEPS
        if self._asked >= self._at and self._crash:
            raise KeyboardInterrupt
        return self._asked >= self._at


def _never():
    return False


def _load(folder):
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize(
    "changes", [{}, {"engine": "reference"}, {"engine": "event"}, {"masked_weights": "multiplied"}]
)
def test_losses_are_those_of_masks_drawn_from_the_final_logits(learned, changes):
    """Each mask is applied as a whole to a model of its own."""
    run, context = learned(**changes)
    left = run.diagnostics(_never)[FILE]
    layout, model = (
        GroupLayout(context.model.frozen.layers, pattern=context.pattern),
        MaskedModel(context.replica.frozen),
    )
    for loss_B, key in zip(left["loss_KB"], mask_keys(0, masks=MASKS), strict=True):
        model.apply_masks(layout.split(run._engine.sample(key).over(run._engine.mode())))
        assert loss_B.tolist() == [model.loss(tokens) for tokens in context.batches[:BATCHES]]
    model.apply_masks(run.initial_masks())
    assert left["initial_loss_B"].tolist() == [model.loss(tokens) for tokens in context.batches[:BATCHES]]
    model.remove_masks()
    assert left["dense_loss_B"].tolist() == [model.loss(tokens) for tokens in context.batches[:BATCHES]]
    assert left["loss_KB"].dtype == left["initial_loss_B"].dtype == left["dense_loss_B"].dtype == np.float64
    assert len({tuple(losses) for losses in left["loss_KB"].tolist()}) == MASKS


def test_confident_logits_draw_the_mask_that_is_kept(learned):
    run, context = learned(logit_magnitude=60.0)
    context.model.apply_masks(run.masks())
    kept = [context.model.loss(tokens) for tokens in context.batches[:BATCHES]]
    assert run.diagnostics(_never)[FILE]["loss_KB"].tolist() == [kept] * MASKS


def test_their_random_numbers_are_used_nowhere_else():
    seeds = range(50)
    keys = {key for seed in seeds for key in mask_keys(seed, masks=4)}
    assert len(keys) == 4 * len(seeds)
    assert not keys & {MaskKey(seed, step, index) for seed in seeds for step in range(50) for index in range(4)}


@pytest.mark.parametrize("changes", [{}, {"engine": "event"}, {"masks_per_step": 2, "logits": "bfloat16_delta"}])
def test_computing_them_changes_nothing(learned, changes):
    run, context = learned(**changes)
    plain, _ = learned(**changes, loss_masks=0)
    before = context.cost.bill
    assert run.diagnostics(_never)
    assert context.cost.bill == before
    assert context.extra.bill.forwards == (MASKS + 1) * BATCHES
    assert context.extra.bill.tokens == context.extra.bill.forwards * context.batches[0].numel()
    assert plain.diagnostics(_never) == {}
    state = plain.state()
    assert state.keys() == run.state().keys()
    assert all((tensor == state[name]).all() for name, tensor in run.state().items())
    assert all((mask == plain.masks()[name]).all() for name, mask in run.masks().items())


def test_a_trial_leaves_them_beside_an_unchanged_result(replica, make_spec, listener, tmp_path):
    events, results = {}, {}
    for masks in (0, MASKS):
        events[masks] = listener()
        spec = make_spec(steps=STEPS, loss_masks=masks)
        results[masks] = run_trial(spec, replica=replica, folder=tmp_path / str(masks), events=events[masks])
    extra = {"cost/extra_forwards": (MASKS + 1) * 2, "cost/extra_backwards": 0, "cost/extra_tokens": (MASKS + 1) * 64}
    curve = events[MASKS].curve()
    assert {name: curve[STEPS].pop(name) for name in extra} == extra
    assert curve == events[0].curve()
    assert results[MASKS].metrics["cost/extra_seconds"] > 0
    assert set(results[MASKS].artifacts) - set(results[0].artifacts) == {FILE}
    assert results[MASKS].artifacts[-1] == "trial.json"
    assert {name: array.shape for name, array in _load(tmp_path / str(MASKS)).items()} == {
        "loss_KB": (MASKS, 2), "initial_loss_B": (2,), "dense_loss_B": (2,)
    }  # fmt: skip
    one, other = (load_bundle(tmp_path / str(masks) / "mask.safetensors")[0] for masks in (0, MASKS))
    assert all((mask == other[name]).all() for name, mask in one.items())


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("at", [1, 3])
def test_a_trial_that_was_interrupted_between_masks_draws_them_again(replica, make_spec, listener, tmp_path, crash, at):
    spec = make_spec(steps=STEPS, loss_masks=MASKS)
    run_trial(spec, replica=replica, folder=tmp_path / "whole", events=listener())
    try:
        events = _Interrupted(at=at, crash=crash)
        stopped = run_trial(spec, replica=replica, folder=tmp_path / "broken", events=events)
        assert (stopped.status, stopped.step, stopped.reason) == ("stopped", STEPS, "interrupted")
    except KeyboardInterrupt:
        assert crash
    assert not (tmp_path / "broken" / FILE).exists()
    assert run_trial(spec, replica=replica, folder=tmp_path / "broken", events=listener()).status == "finished"
    whole, again = _load(tmp_path / "whole"), _load(tmp_path / "broken")
    assert all((whole[name] == array).all() for name, array in again.items())


def test_more_minibatches_than_there_are_is_refused(replica, make_spec, listener, tmp_path):
    spec = make_spec(loss_masks=1, loss_batches=5)
    message = "maskpro: loss_batches = 5: the calibration text makes no more than 4 minibatches"
    with pytest.raises(ValueError, match=message):
        run_trial(spec, replica=replica, folder=tmp_path / "trial", events=listener())
    assert not (tmp_path / "trial").exists()
    assert MASKPRO.unsupported_text_reason(MASKPRO.configure({"loss_batches": 5}), minibatches=4) is None  # of no mask
