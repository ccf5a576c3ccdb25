"""What a replica keeps for its trials is counted by the plan, and by no more than its cache's bound."""

import pytest

from nmlab.platform.planning.admission import Load, check_study_fits
from nmlab.platform.planning.estimate import Estimate
from nmlab.platform.planning.forecast import shared_results
from nmlab.platform.planning.machine import Machine
from nmlab.platform.planning.plan_record import plan_record
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.needs import PER_SEED, Shape
from nmlab.trials.testing.small import LENGTH, SAMPLES, small_replica, small_spec, small_text

GB = 10**9
NORMS = 26 * GB
CPU = Machine(
    device="cpu", device_count=1, cores=4, free_bytes=64 * GB, flops_per_second=1e9, copied_bytes_per_second=1e9
)


def trials(tmp_path, *, numbers_of_samples, shared):
    spec = small_spec("gblm", text=small_text(tmp_path))
    texts = [spec.calibration.model_copy(update={"samples": count}) for count in numbers_of_samples]
    return [(spec.model_copy(update={"calibration": text}), shared) for text in texts]


@pytest.mark.parametrize(("slots", "gigabytes"), [(1, 28), (2, 54), (7, 182)])
def test_seven_sets_of_norms_take_what_running_trials_use_and_the_budget(tmp_path, slots, gigabytes):
    """Without a bound they would take 182 GB, of a 7B model and seven numbers of samples."""
    given = trials(tmp_path, numbers_of_samples=range(2, 9), shared={"gradient norms": NORMS})
    found = shared_results(given, held_out_tokens=0, seeds=3, slots=slots, budget=2 * GB)
    assert round(found.all_kept / GB) == 182
    assert round(found.most / GB) == gigabytes


def test_what_every_seed_has_of_its_own_counts_as_often(tmp_path):
    shared = {f"initial mask random 2:4{PER_SEED}": GB, "initial mask wanda 2:4": GB}
    given = trials(tmp_path, numbers_of_samples=[4], shared=shared)
    found = shared_results(given, held_out_tokens=0, seeds=5, slots=1, budget=100 * GB)
    assert round(found.most / GB) == 6


def test_a_plan_counts_it_as_memory(plan_of):
    without = Estimate(plan_of(), CPU)
    with_norms = Estimate(plan_of("baselines=[dense, gblm]"), CPU)
    norms = 4 * with_norms.plan.facts.prunable
    assert with_norms.load.shared - without.load.shared >= norms
    assert plan_record(with_norms, trials=1)["memory"]["shared"] == with_norms.load.shared


def test_on_a_gpu_it_is_memory_of_the_machine(plan_of):
    gpu = Machine(
        device="cuda",
        device_count=1,
        cores=4,
        free_bytes=64 * GB,
        flops_per_second=1e12,
        copied_bytes_per_second=1e12,
        host_free_bytes=64 * GB,
    )
    load = Estimate(plan_of(), gpu).load
    assert (load.shared, load.shared_on_host > 0) == (0, True)
    check_study_fits(plan_of().study, load, machine=gpu)
    large = Load(weights=1, block_weights=1, blocks=1, shared=0, slot=1, shared_on_host=40 * GB)
    with pytest.raises(
        ValueError, match=r"2 worker\(s\) keep 40\.0 GB each .* 80\.0 GB, but this machine has 64\.0 GB"
    ):
        check_study_fits(plan_of("replica={count: 2}").study, large, machine=gpu)


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("gblm", {}),
        ("pruner_zero", {}),
        ("maskpro", {"initial_mask": "wanda"}),
        ("maskpro", {"initial_mask": "gblm"}),
        *(("first_order", {"initial_mask": base}) for base in ("wanda", "sparsegpt", "random")),
        ("maskpro", {"initial_mask": "first_order"}),
        ("maskllm", {"initial_mask": "first_order:sparsegpt_mask"}),
        ("soft_topn", {"steps": 1, "initial_logits": "first_order", "initial_mask": "magnitude"}),
        ("maskpro", {"objective": "distill"}),
        ("susi", {"objective": "distill"}),
    ],
    ids=str,
)
def test_a_replica_keeps_what_was_predicted(tmp_path, name, hyperparameters):
    replica = ReplicaContext(small_replica().frozen)
    layers = replica.frozen.layers
    vocabulary = replica.frozen.vocabulary_size
    shape = Shape(layers, {}, 4, 16, Pattern(2, 4), SAMPLES, LENGTH, vocabulary=vocabulary)
    method = registry.get(name)
    config = method.configure(hyperparameters)
    spec = small_spec(name, text=small_text(tmp_path))
    method.start(TrialContext(replica, MaskedModel(replica.frozen), Pattern(2, 4), spec.calibration, seed=0), config)
    predicted = sum(method.needs(shape, config).shared.values()) + 8 * SAMPLES * LENGTH
    assert predicted <= replica.results.nbytes <= predicted + 20_000  # names, records, losses of minibatches
