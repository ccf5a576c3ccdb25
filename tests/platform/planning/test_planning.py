"""What a plan says of memory, time and disk, and what it refuses, on machines of all sizes."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.platform.planning.admission import (
    BESIDE_BYTES,
    CUDA_BYTES,
    WORKER_BYTES,
    Load,
    check_study_fits,
    replica_fit,
    size,
    why_worker_does_not_fit,
)
from nmlab.platform.planning.estimate import Estimate, probe_methods
from nmlab.platform.planning.listing import list_trials
from nmlab.platform.planning.machine import Machine, free_bytes
from nmlab.platform.planning.plan_record import plan_record
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.search.strategies import strategy_of
from nmlab.trials.methods import registry

MB = 10**6
LOAD = Load(weights=1000 * MB, block_weights=800 * MB, blocks=8, shared=MB, slot=100 * MB)


def cpu(free, *, cores=4):
    return Machine(
        device="cpu",
        device_count=1,
        cores=cores,
        free_bytes=free,
        flops_per_second=1e9,
        copied_bytes_per_second=1e9,
    )


def gpu(free, *, devices=1):
    return Machine(
        device="cuda",
        device_count=devices,
        cores=4,
        free_bytes=free + CUDA_BYTES,
        flops_per_second=1e12,
        copied_bytes_per_second=1e12,
    )


def processes(replicas, stages=1):
    """What the processes of so many replicas take on this machine, beside models and trials."""
    return replicas * (stages * WORKER_BYTES + BESIDE_BYTES)


@pytest.fixture
def study_of(plan_of):
    def build(*, count=1, slots=1, shards=1):
        return plan_of(f"replica={{count: {count}, slots: {slots}, pipeline_stages: {shards}}}").study

    return build


def test_what_fits_to_the_byte_is_admitted_and_a_byte_less_is_not(study_of):
    study = study_of(count=2, slots=3)
    free = processes(2) + 1000 * MB + 2 * 3 * 100 * MB + 2 * MB
    check_study_fits(study, LOAD, machine=cpu(free))
    message = r"slots = 3: 2 replicas of weights 1.0 GB and 3 slot\(s\) of 100 MB need 1.6 GB"
    with pytest.raises(ValueError, match=message):
        check_study_fits(study, LOAD, machine=cpu(free - 1))


def test_a_refusal_names_the_slots_that_fit(study_of):
    free = processes(1) + 1000 * MB + 5 * 100 * MB + MB
    message = r"this machine has 1\.5 GB free; slots: 5 would fit, 4 would have a core each"
    with pytest.raises(ValueError, match=message):
        check_study_fits(study_of(slots=6), LOAD, machine=cpu(free))
    with pytest.raises(ValueError, match="not one slot fits; use a smaller model, dtype"):
        check_study_fits(study_of(), LOAD, machine=cpu(processes(1) + 1050 * MB))


def test_gpu_hours_cannot_be_limited_where_none_are_used(plan_of):
    study = plan_of("budget.total={gpu_hours: 3}").study
    with pytest.raises(ValueError, match=r"^budget.total.gpu_hours = 3: this machine has no GPU; expected"):
        check_study_fits(study, LOAD, machine=cpu(10**12))


def test_a_model_larger_than_a_gpu_is_offered_pipeline_stages(study_of):
    with pytest.raises(
        ValueError, match=r"each GPU has 600 MB free; slots: 1 with pipeline_stages: 3 would fit on 3 GPUs$"
    ):
        check_study_fits(study_of(), LOAD, machine=gpu(600 * MB, devices=4))
    with pytest.raises(ValueError, match="pipeline_stages: 3 would fit on 3 GPUs, of which this machine has 2"):
        check_study_fits(study_of(), LOAD, machine=gpu(600 * MB, devices=2))
    with pytest.raises(ValueError, match="not even one block a GPU"):
        check_study_fits(study_of(), LOAD, machine=gpu(200 * MB, devices=8))
    check_study_fits(study_of(slots=2), LOAD, machine=gpu(1201 * MB))


@pytest.mark.parametrize("slots", [1, 4])
def test_the_stages_that_are_offered_are_the_fewest_that_fit(slots):
    free = 600 * MB
    stages = LOAD.fewest_stages(free, slots=slots)
    assert LOAD.worker(slots=slots, stages=stages) <= free < LOAD.worker(slots=slots, stages=stages - 1)


def test_a_worker_holds_whole_blocks():
    """Eight blocks on three workers are three, three and two: the largest holds three eighths, and what is no block."""
    assert LOAD.worker(slots=1, stages=3) == 200 * MB + 300 * MB + MB + 100 * MB * 3 / 8


def test_slots_are_proposed_by_memory_and_by_cores(study_of):
    free = processes(2) + 1000 * MB + 2 * MB + 12 * 100 * MB
    assert replica_fit(study_of(count=2), LOAD, machine=cpu(free, cores=8)).slots == 4
    assert replica_fit(study_of(count=2), LOAD, machine=cpu(free, cores=32)).slots == 6
    assert replica_fit(study_of(), LOAD, machine=gpu(1301 * MB)).slots == 3


def test_a_replica_looks_at_its_own_memory():
    assert why_worker_does_not_fit(LOAD, slots=1, stages=1, device="cpu") == ""
    huge = dataclasses.replace(LOAD, slot=free_bytes("cpu"))
    message = why_worker_does_not_fit(huge, slots=2, stages=1, device="cpu")
    assert "replica.slots = 2: weights 1.0 GB and 2 slot(s)" in message
    assert "not one slot fits" in message


@given(
    blocks=st.integers(1, 80),
    stages=st.integers(1, 80),
    slot=st.integers(1, 10**11),
    held=st.integers(0, 10**12),
    free=st.integers(0, 10**13),
)
def test_the_most_slots_of_a_worker_are_the_most_that_fit(blocks, stages, slot, held, free):
    load = Load(weights=held, block_weights=held // 2, blocks=blocks, shared=MB, slot=slot)
    stages = min(stages, blocks)
    most = load.most_slots(free, stages=stages)
    if most >= 0:
        assert load.worker(slots=most, stages=stages) <= free
    assert load.worker(slots=max(0, most + 1), stages=stages) > free


def test_a_worker_of_a_pipeline_is_told_the_slots_that_fit_its_stage():
    room = LOAD.worker(slots=3, stages=4)
    assert why_worker_does_not_fit(LOAD, slots=3, stages=4, device="cpu", room=room) == ""
    message = why_worker_does_not_fit(LOAD, slots=4, stages=4, device="cpu", room=room)
    assert "in 4 pipeline stages" in message
    assert message.endswith("slots: 3 would fit")


def test_memory_that_a_container_may_not_use_is_not_free(tmp_path, monkeypatch):
    limit, used = tmp_path / "limit", tmp_path / "used"
    monkeypatch.setattr("nmlab.platform.planning.machine._LIMITS", ((str(limit), str(used)),))
    whole = free_bytes("cpu")
    limit.write_text("max\n")
    used.write_text("5\n")
    assert free_bytes("cpu") == pytest.approx(whole, rel=0.2)
    limit.write_text("1000\n")
    assert free_bytes("cpu") == 995
    used.write_text("2000\n")
    assert free_bytes("cpu") == 0


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123456789, "123 MB"), (5e12, "5.0 TB")]
)
def test_sizes_for_people(count, text):
    assert size(count) == text


@pytest.mark.parametrize("search", ["algorithm: random, samples: 5", "algorithm: tpe, samples: 9", "algorithm: grid"])
def test_the_trials_that_are_listed_are_those_that_a_launch_begins_with(plan_of, tmp_path, search):
    space = "space={alpha: {grid: [0.9, 0.99]}}" if "grid" in search else "space={alpha: {uniform: [0.5, 0.99]}}"
    plan = plan_of(f"search={{{search}}}", space)
    listing = list_trials(plan)
    strategy = strategy_of(plan.study, journal=tmp_path / "optuna.journal")
    settled = plan.configurations - listing.open
    made = [strategy.next() for _ in range(settled)]
    seeds = plan.study.seeds
    expected = [trial_spec(plan.study, each.configuration, seed=seed) for each in made for seed in seeds]
    assert [spec.key for spec in listing.specs] == [spec.key for spec in (*plan.baselines, *expected)]
    assert listing.open == (5 if "tpe" in search else 0)
    assert len(listing.specs) + listing.open * len(seeds) == plan.trials


def test_time_is_trials_times_steps_over_what_runs_at_once(plan_of):
    one, two = (Estimate(plan_of("baselines=[]", f"budget.max_concurrent={slots}"), cpu(10**10)) for slots in (1, 2))
    assert one.seconds == pytest.approx(2 * two.seconds)
    forecasts = [forecast for _, forecast in one.forecasts]
    trials = [forecast.seconds(steps=4, evaluations=1) for forecast in forecasts]
    assert min(trials) <= one.seconds / one.plan.trials <= max(trials)
    assert all(trial > 4 * forecast.step_seconds > 0 for trial, forecast in zip(trials, forecasts, strict=True))


@pytest.mark.slow
def test_a_probe_takes_the_place_of_the_estimate(plan_of):
    plan = plan_of("baselines=[magnitude]")
    probes = probe_methods(plan)
    assert set(probes) == {("magnitude", "2:4"), ("maskpro", "2:4")}
    estimate = Estimate(plan, cpu(10**10), probes)
    record = plan_record(estimate, trials=1)
    assert record["seconds are"] == "measured"
    assert json.loads(json.dumps(record)) == record
    learned = probes["maskpro", "2:4"]
    assert learned.step_seconds > 0
    forecast = next(forecast for spec, forecast in estimate.forecasts if spec.method == "maskpro")
    assert (forecast.slot_bytes, forecast.step_seconds) == (learned.peak_bytes, learned.step_seconds)
    assert learned.state_bytes == forecast.state_bytes


def test_micro_batches_take_less_memory_and_as_many_operations(plan_of):
    asked = ("method=susi", "fixed={steps: 5}", "space={}", "baselines=[]", "search={algorithm: grid}")
    size = "data.calibration={source: builtin:python-docs, samples: 8, sequence_length: 64, batch_size: 8}"
    whole, parted = (
        Estimate(plan_of(*asked, size, *more), cpu(10**10)).forecasts[0][1]
        for more in ((), ("data.calibration.micro_batch=2",))
    )
    assert parted.step_bytes < whole.step_bytes
    assert parted.state_parts == whole.state_parts
    assert whole.step_seconds < parted.step_seconds < 2 * whole.step_seconds  # what weights cost is paid four times


def test_a_start_that_differentiates_takes_the_memory_of_a_backward(plan_of, monkeypatch):
    """A backward keeps what its forward computed in all blocks, beside a gradient for each weight."""
    plan = plan_of("baselines=[first_order, {method: maskpro, initial_mask: first_order, steps: 1}]")
    method = type(registry.get("first_order"))
    counted, needs = [forecast.start_bytes for _, forecast in Estimate(plan, cpu(10**10)).forecasts], method.needs

    def without_backward(*given):
        return dataclasses.replace(needs(*given), start_weights=None)

    monkeypatch.setattr(method, "needs", without_backward)
    forwards = [forecast.start_bytes for _, forecast in Estimate(plan, cpu(10**10)).forecasts]
    more = [one - other for one, other in zip(counted, forwards, strict=True)]
    assert sorted(more)[-2] == max(more) > 2 * plan.facts.model_bytes


def test_the_passes_of_a_start_take_time(plan_of):
    """A backward counts as two forwards; the whole has a forward of each minibatch for no step and eight steps."""

    def seconds(baseline):
        plan = plan_of(f"baselines=[{baseline}]")
        ((_, forecast),) = [each for each in Estimate(plan, cpu(10**10)).forecasts if each[0].method != "maskpro"]
        return forecast.start_seconds, plan.baselines[0].calibration.minibatches

    few = "gradient_batches: 1, line_search_batches: 1, kappa_count: 1"
    (rule, batches), *found = map(
        seconds,
        (
            "magnitude",
            "{method: first_order, initial_mask: magnitude}",
            f"{{method: first_order, initial_mask: magnitude, {few}}}",
        ),
    )
    assert rule == 0
    searched = max(1, batches // 4)
    assert found[0][0] / found[1][0] == pytest.approx((3 * (batches - searched) + 9 * searched) / (3 + 2))


def test_neutral_texts_are_counted_with_every_trial(plan_of):
    """A text as long as that of the evaluation costs what learns an evaluation more at its start and at its end."""
    without = plan_of("baselines=[]")
    plan = plan_of("baselines=[]", "data.neutral=[{source: n.txt, name: a}, {source: m.txt, name: b, windows: 2}]")
    windows = {"a": without.facts.evaluation_windows, "b": 2}
    with_them = dataclasses.replace(plan, facts=dataclasses.replace(plan.facts, neutral_windows=windows))
    estimates = [Estimate(plan, cpu(10**10)) for plan in (without, with_them)]
    each = estimates[0].forecasts[0][1].evaluation_seconds
    assert each > 0
    more = estimates[1].seconds - estimates[0].seconds
    assert more == pytest.approx(2 * 1.5 * each * with_them.trials / plan.study.concurrency)
    assert estimates[1].shared.all_kept > estimates[0].shared.all_kept
    assert estimates[1].disk["artifacts"] > estimates[0].disk["artifacts"]
    record = plan_record(estimates[1], trials=1)
    assert record["neutral"] == "a 4 windows of 32 tokens, b 2 windows of 32 tokens"
    assert list(record).index("neutral") == list(record).index("evaluation") + 1
    assert "neutral" not in plan_record(estimates[0], trials=1)


def test_a_start_is_measured_for_what_learns_alone(plan_of):
    """A rule has no start, so it costs an evaluation; a learned trial costs two."""
    asked = ("method=susi", "fixed={steps: 5}", "space={}", "search={algorithm: grid}", "seeds=[0]")
    estimate = Estimate(plan_of(*asked, "baselines=[magnitude]"), cpu(10**10))
    expected = [
        forecast.seconds(steps=5, evaluations=2) if spec.method == "susi" else forecast.seconds(steps=0, evaluations=1)
        for spec, forecast in estimate.forecasts
    ]
    assert len(expected) == estimate.plan.trials == 2
    assert estimate.seconds * estimate.plan.study.concurrency == pytest.approx(sum(expected))


def test_a_plan_shows_how_many_sequences_each_text_of_a_mixture_gives(plan_of):
    source = "data.calibration.source=[a.txt, {source: b.txt, weight: 2}]"
    record = plan_record(Estimate(plan_of(source, "data.calibration.samples=5"), cpu(10**10)), trials=1)
    assert record["calibration"] == "a.txt 2 + b.txt 3 windows of 32 tokens"
    several = plan_of(source, "data.calibration.samples={grid: [4, 6]}", "search.algorithm=grid", "search.samples=null",
                      "space={alpha: {grid: [0.9]}}", "search.initial_points=[]")  # fmt: skip
    shown = plan_record(Estimate(several, cpu(10**10)), trials=1)["calibration"]
    assert shown == "a.txt 1 + b.txt 3 windows of 32 tokens; a.txt 2 + b.txt 4 windows of 32 tokens"
    assert "calibration" not in plan_record(Estimate(plan_of(), cpu(10**10)), trials=1)
