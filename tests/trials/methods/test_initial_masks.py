"""One-shot masks to start from: computed once for all trials, on one replica or several, and paid for by each."""

import json
import multiprocessing
import threading
import time

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import read_bundle, save_bundle
from nmlab.trials.measure.cost import Bill
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.initial_masks import initial_mask
from nmlab.trials.models import MaskedModel
from nmlab.trials.testing import small_replica, small_spec, small_text
from nmlab.trials.trial.run import run_trial

SEQUENCES, TOKENS = 8, 8 * 16
GRADIENTS = {"forwards": SEQUENCES, "backwards": SEQUENCES, "tokens": TOKENS}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return small_text(tmp_path_factory.mktemp("text"))


def _own_account(method, text):
    """What a method counts when it runs by itself."""
    context = _context(small_replica(), text)
    registry.get(method).start(context, registry.get(method).configure({}))
    return context.cost.bill


@pytest.fixture(scope="module")
def wanda(text):
    """The passes of wanda by itself."""
    counts = _counts(_own_account("wanda", text))
    assert counts["forwards"] > 0
    return counts


@pytest.fixture
def masks_folder(tmp_path):
    return tmp_path / "initial_masks"


@pytest.fixture
def new_replica(masks_folder):
    """Return a function that makes a replica context as another replica would: same weights, empty cache."""
    return lambda **changes: small_replica(initial_masks=masks_folder, **changes)


def _context(replica, text, *, pattern="2:4", seed=0, **changes):
    calibration = small_spec("dense", text=text).calibration.model_copy(update=changes)
    return TrialContext(replica, MaskedModel(replica.frozen), Pattern.parse(pattern), calibration, seed)


def _counts(bill):
    return {name: getattr(bill, name) for name in ("forwards", "backwards", "tokens")}


def _files(masks_folder):
    return sorted(path for path in masks_folder.rglob("mask.safetensors"))


def _assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_every_trial_pays_and_the_first_has_spent_it(new_replica, text, wanda):
    """Each trial is charged what the mask costs alone, for equal budgets; only one of them computed anything."""
    replica = new_replica()
    first, second = _context(replica, text), _context(replica, text, seed=1)
    for context in (first, second):
        initial_mask("wanda", context)
        assert _counts(context.cost.bill) == _counts(context.cost.initial) == wanda
    assert _counts(first.cost.spent) == wanda
    assert _counts(second.cost.spent) == _counts(Bill())
    assert first.cost.bill.seconds == second.cost.bill.seconds == first.cost.spent.seconds > 0
    assert second.cost.spent.seconds == 0


def test_a_trial_pays_once_however_often_it_asks(new_replica, text, wanda):
    context = _context(new_replica(), text)
    _assert_same(initial_mask("wanda", context), initial_mask("wanda", context))
    assert _counts(context.cost.bill) == wanda
    assert len(context.started_from) == 1


def test_another_replica_reads_what_the_first_has_written(new_replica, text, masks_folder, wanda):
    first, other = _context(new_replica(), text), _context(new_replica(), text)
    mask = initial_mask("wanda", first)
    (file,) = _files(masks_folder)
    written = file.stat().st_mtime_ns
    _assert_same(initial_mask("wanda", other), mask)
    assert file.stat().st_mtime_ns == written
    assert first.started_from == other.started_from
    assert _counts(other.cost.bill) == wanda
    assert _counts(other.cost.spent) == _counts(Bill())
    assert other.cost.bill.seconds == first.cost.bill.seconds
    ((digest, record),) = first.started_from.items()
    assert digest == masks_digest(mask)
    assert record["key"] == file.parent.name
    bundle = read_bundle(file)
    assert masks_digest(bundle.masks) == digest
    assert (bundle.info.method, bundle.info.pattern, bundle.origin) == ("wanda", "2:4", record)


def test_gradients_that_a_baseline_gathered_are_charged_and_not_spent_again(new_replica, text, wanda):
    replica = new_replica()
    before, after = _context(replica, text), _context(replica, text)
    initial_mask("pruner_zero", before)
    initial_mask("gblm", after)
    expected = {name: wanda[name] + GRADIENTS[name] for name in wanda}
    assert _counts(before.cost.bill) == _counts(before.cost.spent) == GRADIENTS
    assert _counts(after.cost.bill) == _counts(after.cost.initial) == expected
    assert _counts(after.cost.spent) == wanda


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({}, True),
        ({"seed": 1}, True),
        ({"pattern": "1:4"}, False),
        ({"batch_size": 4}, False),
        ({"samples": 6}, False),
    ],
)
def test_what_a_file_depends_on(new_replica, text, masks_folder, changes, shared):
    replica = new_replica()
    initial_mask("wanda", _context(replica, text))
    initial_mask("wanda", _context(replica, text, **changes))
    assert len(_files(masks_folder)) == (1 if shared else 2)


def test_models_and_texts_are_identified_by_contents(new_replica, text, masks_folder, tmp_path):
    initial_mask("wanda", _context(new_replica(), text))
    copied = tmp_path / "copied.txt"
    copied.write_text(text.read_text())
    initial_mask("wanda", _context(new_replica(), copied))
    assert len(_files(masks_folder)) == 1, "the same text in another place is the same text"
    text_of_today = tmp_path / "today.txt"
    text_of_today.write_text(text.read_text()[3000:])
    initial_mask("wanda", _context(new_replica(), text_of_today))
    initial_mask("wanda", _context(new_replica(dtype="bfloat16"), text))
    assert len(_files(masks_folder)) == 3


def test_a_mask_drawn_at_random_is_kept_for_each_seed(new_replica, text, masks_folder):
    replica = new_replica()
    for seed in (0, 1, 0):
        initial_mask("random", _context(replica, text, seed=seed))
    assert len(_files(masks_folder)) == 2


def _cut(file):
    file.write_bytes(file.read_bytes()[:-5])


def _flip(file):
    contents = bytearray(file.read_bytes())
    contents[-1] ^= 0b1111
    file.write_bytes(bytes(contents))


def _empty(file):
    file.write_bytes(b"")


def _another_mask(file):
    """Write a valid bundle of another mask, as after a copy to the wrong place."""
    bundle = read_bundle(file)
    origin = {**bundle.origin, "calibration_digest": "0" * 16}
    save_bundle(file, {name: ~mask for name, mask in bundle.masks.items()}, info=bundle.info, origin=origin)


@pytest.mark.parametrize("damage", [_cut, _flip, _empty, _another_mask])
def test_a_damaged_file_is_computed_again_with_a_note(new_replica, text, masks_folder, damage, wanda):
    mask = initial_mask("wanda", _context(new_replica(), text))
    (file,) = _files(masks_folder)
    damage(file)
    again = _context(new_replica(), text)
    _assert_same(initial_mask("wanda", again), mask)
    assert _counts(again.cost.spent) == wanda
    (note,) = again.notes
    assert note.startswith("initial mask: computed again, because its file could not be used: ")
    assert str(file) in note
    assert masks_digest(read_bundle(file).masks) == masks_digest(mask)
    later = _context(new_replica(), text)
    initial_mask("wanda", later)
    assert later.cost.spent == Bill()


def _ask_elsewhere(masks_folder, text):
    """Ask for the mask in this process, a forked one, when both are ready; leave what it was and what it cost."""
    context = _context(small_replica(initial_masks=masks_folder), text, seed=1)
    assert context.batches
    (text.parent / "ready-other").touch()
    while not (text.parent / "ready-here").exists():
        time.sleep(0.001)
    digest = masks_digest(initial_mask("sparsegpt", context))
    found = [digest, context.cost.spent.forwards, context.cost.bill.forwards]
    (text.parent / "found-other").write_text(json.dumps(found))


@pytest.mark.slow
def test_of_two_processes_that_ask_together_one_computes(new_replica, masks_folder, tmp_path):
    """This process and another one."""
    text = small_text(tmp_path)
    forwards = _own_account("sparsegpt", text).forwards
    context = _context(new_replica(), text)
    assert context.batches
    other = multiprocessing.get_context("fork").Process(target=_ask_elsewhere, args=(masks_folder, text))
    other.start()
    while not (tmp_path / "ready-other").exists():
        assert other.is_alive()
        time.sleep(0.001)
    (tmp_path / "ready-here").touch()
    digest = masks_digest(initial_mask("sparsegpt", context))
    other.join(120)
    assert other.exitcode == 0
    printed = json.loads((tmp_path / "found-other").read_text())
    ours = [digest, context.cost.spent.forwards, context.cost.bill.forwards]
    assert ours[0] == printed[0]
    assert sorted([ours[1], printed[1]]) == [0, forwards]
    assert ours[2] == printed[2] == forwards


def test_a_trial_is_not_charged_for_waiting(new_replica, text):
    """Two threads of one replica: the second is charged the cost of the mask, not its time of waiting."""
    replica = new_replica()
    contexts = [_context(replica, text, seed=seed) for seed in (0, 1)]

    def start(context):
        with context.cost.watch():
            initial_mask("sparsegpt", context)

    threads = [threading.Thread(target=start, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    charged = [context.cost.initial.seconds for context in contexts]
    assert charged[0] == charged[1] > 0
    own = [context.cost.bill.seconds - context.cost.initial.seconds for context in contexts]
    assert all(0 <= seconds < 0.5 * charged[0] for seconds in own)


class _Quiet:
    def metrics(self, step, values):
        pass

    def cancelled(self):
        return False


def _trial(replica, text, folder, method="maskllm", *, budget=None, **hyperparameters):
    given = {"steps": 5, **hyperparameters}
    spec = small_spec(method, text=text, hyperparameters=given, budget=budget or {})
    return run_trial(spec, replica=replica, folder=folder, events=_Quiet())


def test_a_trial_records_what_its_start_cost_and_what_was_spent(new_replica, text, tmp_path, wanda):
    replica = new_replica()
    recorded = [
        _trial(replica, text, tmp_path / str(steps), initial_mask="wanda", steps=steps).metrics for steps in (5, 6)
    ]
    for metrics, steps in zip(recorded, (5, 6), strict=True):
        assert metrics["cost/forwards"] == steps + wanda["forwards"]
        assert metrics["cost/initial_forwards"] == wanda["forwards"]
        assert metrics["cost/initial_tokens"] == wanda["tokens"]
        assert metrics["cost/initial_seconds"] < metrics["cost/seconds"]
        assert metrics["time/step_s"] * steps < metrics["cost/seconds"] - 0.9 * metrics["cost/initial_seconds"]
    assert [metrics["cost/spent_forwards"] for metrics in recorded] == [5 + wanda["forwards"], 6]
    assert recorded[1]["cost/spent_seconds"] == pytest.approx(
        recorded[1]["cost/seconds"] - recorded[1]["cost/initial_seconds"]
    )


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_trials_changes_no_budget(new_replica, text, tmp_path, order, wanda):
    """Both are charged the start, so both learn for as long: what is left is three steps."""
    replica = new_replica()
    for strength in (3.0, 2.0)[::order]:
        folder = tmp_path / str(strength)
        budget = {"forwards": wanda["forwards"] + 3}
        result = _trial(replica, text, folder, initial_mask="wanda", steps=50, budget=budget, prior_strength=strength)
        assert (result.status, result.step) == ("finished", 3)
        assert not result.notes


def test_a_start_that_exceeds_the_budget_is_noted(new_replica, text, tmp_path, wanda):
    result = _trial(new_replica(), text, tmp_path, initial_mask="wanda", budget={"forwards": 5})
    assert (result.status, result.step) == ("finished", 0)
    assert result.notes == (f"over the budget of 5 forwards: its start alone took {wanda['forwards']}",)


def test_a_method_without_an_initial_mask_has_no_start_to_pay(new_replica, text, tmp_path):
    result = _trial(new_replica(), text, tmp_path, method="susi")
    assert result.initial_masks == {}
    assert {name: value for name, value in result.metrics.items() if name.startswith("cost/initial_")} == {
        f"cost/initial_{name}": 0.0 for name in ("forwards", "backwards", "tokens", "seconds")
    }
    assert result.metrics["cost/spent_seconds"] == result.metrics["cost/seconds"]
