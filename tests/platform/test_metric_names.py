"""A search can aim at whatever a trial tells: the names of the study schema against those of a run of every method."""

import pytest

from nmlab.search_spaces.checks import METRICS
from nmlab.trials import registry
from nmlab.trials.testing import small_bench, small_spec, small_text
from nmlab.trials.trial import run_trial


class _Names:
    """Remembers the name of every metric."""

    def __init__(self):
        self.told = set()

    def metrics(self, step, values):
        self.told |= values.keys()

    def cancelled(self):
        return False


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The names that each method tells in a short run."""
    bench, text, names = small_bench(), small_text(tmp_path_factory.mktemp("text")), {}
    bench.frozen.load_peak_bytes = 2**20  # it was made here; a model that is loaded knows this
    for name in registry.names():
        method, events = registry.get(name), _Names()
        steps = {"steps": 2, **({"loss_masks": 1} if name == "maskpro" else {})} if method.learned else {}
        spec = small_spec(name, text=text, hyperparameters=steps, cadence={"log_every": 1})
        run_trial(spec, bench=bench, folder=tmp_path_factory.mktemp(name), events=events)
        names[name] = events.told
    return names


@pytest.mark.parametrize("name", registry.names())
def test_a_search_can_aim_at_everything_a_method_tells(told, name):
    assert {"eval/perplexity", "cost/forwards"} <= told[name]
    assert told[name] <= set(METRICS)


def test_no_name_is_known_that_nothing_tells(told):
    assert set(METRICS) <= set().union(*told.values())
