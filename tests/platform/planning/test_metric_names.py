"""What is declared and what is recorded are the same: the declarations against a run of every method."""

import pytest

from nmlab.trials.contract.declarations import metric_of, own_metrics
from nmlab.trials.contract.metrics import COMMON, Phase
from nmlab.trials.contract.sections import ValidationSpec
from nmlab.trials.methods import registry
from nmlab.trials.testing import small_replica, small_spec, small_text
from nmlab.trials.trial.run import run_trial

pytestmark = pytest.mark.slow

PULLED = {"initial_logits": "saliency", "initial_mask": "magnitude", "start_pull": 0.1}
ALL_OF_IT = {
    "maskpro": {"loss_masks": 1, "learning_rate_schedule": "linear"},
    "proxsparse": {"anchor_lambda": 0.1},
    **dict.fromkeys(("susi", "soft_topn", "simple"), PULLED),
}
"""Hyperparameters without which a method leaves out something that it can record."""


class _Recorder:
    """Collects the steps at which every metric is recorded."""

    def __init__(self):
        self.steps = {}

    def metrics(self, step, values):
        for name in values:
            self.steps.setdefault(name, set()).add(step)

    def cancelled(self):
        return False


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The metrics that each method records in a run of four steps, by name, with the steps."""
    replica, text, found = small_replica(), small_text(tmp_path_factory.mktemp("text")), {}
    replica.frozen.load_peak_bytes = 2**20  # it was made here; a model that is loaded knows this
    for name in registry.names():
        method, events = registry.get(name), _Recorder()
        settings = {"steps": 4, **ALL_OF_IT.get(name, {})} if method.learned else {}
        cadence = {"log_every": 1, "evaluate_every": 2}
        spec = small_spec(name, text=text, hyperparameters=settings, cadence=cadence)
        result = run_trial(spec, replica=replica, folder=tmp_path_factory.mktemp(name), events=events)
        assert result.status == "finished"
        found[name] = events.steps
    return found


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """The metrics of a learned method that is chosen on a validation text, by name, with the steps."""
    text, events = small_text(tmp_path_factory.mktemp("text")), _Recorder()
    chosen_on = ValidationSpec(source=f"{text}[50%:75%]", sequence_length=24, windows=4, batch_size=4)
    cadence = {"log_every": 1, "evaluate_every": 2}
    spec = small_spec("maskpro", text=text, hyperparameters={"steps": 4}, cadence=cadence, validation=chosen_on)
    run_trial(spec, replica=small_replica(), folder=tmp_path_factory.mktemp("validated"), events=events)
    return events.steps


@pytest.mark.parametrize("name", registry.names())
def test_everything_that_a_method_records_is_declared(recorded, name):
    declared = {metric.name for metric in (*COMMON, *registry.metrics_of(name))}
    assert {"eval/perplexity", "cost/forwards"} <= recorded[name].keys() <= declared


@pytest.mark.parametrize("name", registry.names())
def test_everything_that_a_method_declares_is_recorded(recorded, name):
    assert {metric.name for metric in registry.metrics_of(name)} <= recorded[name].keys()
    assert registry.get(name).metrics == registry.metrics_of(name) == own_metrics()[name]


def test_every_common_metric_is_recorded_by_some_method(recorded, validated):
    assert {metric.name for metric in COMMON} <= set().union(*recorded.values(), validated)


def test_with_a_validation_text_the_evaluation_text_is_read_once_at_the_end(validated):
    assert (validated["initial/perplexity"], validated["eval/perplexity"]) == ({0}, {4})
    assert validated["validation/perplexity"] == {2, 4}


@pytest.mark.parametrize("name", registry.names())
def test_metrics_are_recorded_when_their_declaration_says(recorded, name):
    learned = registry.get(name).learned
    last = max(recorded[name]["cost/forwards"])
    expected = {
        Phase.START: {0},
        Phase.CURVE: {1, 2, 3, 4},
        Phase.EVALUATION: {2, 4} if learned else {0},
        Phase.END: {last},
    }
    for metric, steps in recorded[name].items():
        assert steps == expected[metric_of(metric).phase], metric
