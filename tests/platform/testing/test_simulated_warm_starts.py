"""Launches in the simulated backend whose search starts from an earlier one, killed at any record of the journal."""

import shutil
from pathlib import Path

import optuna
import pytest
from deaths import run_with_deaths
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nmlab.platform.driver.warm_start import plan_warm_start
from nmlab.platform.launches.launch import Launch
from nmlab.platform.records.events import TrialSubmitted, WarmStarted
from nmlab.platform.search.warm_start import WARM_STARTED_FROM
from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus

EARLIER = (
    "search={algorithm: tpe, samples: 6}",
    "space={alpha: {choice: [0.9, 0.95, 0.99]}, learning_rate: {loguniform: [0.5, 4.0]}}",
    "fixed={steps: 2, logit_magnitude: 4.0}",
    "seeds=[0, 1]",
    "baselines=[dense]",
    "replica={count: 2, slots: 1}",
    "budget={max_concurrent: 1}",
    "intervals={log_every: 1, checkpoint_every: 1}",
)
EVERY = 20
"""Records between two deaths of a driver."""
HERE = ("search.samples=4", "seeds=[2, 3]")


def by_alpha(spec):
    settings = spec.hyperparameters
    value = 30.0 + settings.get("alpha", 1.0) + settings.get("learning_rate", 0.0) / 100 + spec.seed / 1000
    return dict.fromkeys((0, int(settings.get("steps", 0))), value)


def launched(plan, folder, *, warm=None, deaths_from=None):
    """Run a launch to its end; with ``deaths_from`` drivers are killed from that record on."""
    with SimulatedLaunch(plan, folder, seed=5, curve=by_alpha, warm=warm) as launch:
        if deaths_from is None:
            launch.start()
        else:
            assert run_with_deaths(launch, first=deaths_from, every=EVERY) >= 1
        assert launch.finish().status == LaunchStatus.FINISHED
        check_launch(launch)
        return launch


def warm_of(plan, *sources, results, digest="simulated"):
    """Return what a launch starts from; nothing of MLflow is read, and the model's weights have a digest."""
    nowhere = f"sqlite:///{results}/none.db"
    return plan_warm_start(plan, sources, results=results, tracking_uri=nowhere, digest_of=lambda source: digest)


@pytest.fixture(scope="module")
def kept(plan_of, tmp_path_factory):
    """The folder of an earlier launch, in that of its results."""
    return launched(plan_of(*EARLIER), tmp_path_factory.mktemp("results")).launch.folder


@pytest.fixture
def earlier(kept, in_memory):
    """The same launch in a folder of results of the test's own."""
    return Launch(Path(shutil.copytree(kept, in_memory / kept.relative_to(kept.parents[1]))))


def outcomes(launch):
    return {key: (end["status"], end["metrics"]) for key, end in launch.ended().items()}


def optuna_trials(launch):
    storage = JournalStorage(JournalFileBackend(str(launch.optuna_journal)))
    return optuna.load_study(study_name="quickstart", storage=storage).trials


def test_what_an_earlier_launch_found_enters_and_is_none_of_its_trials(plan_of, earlier, in_memory):
    plan = plan_of(*EARLIER, *HERE)
    warm = warm_of(plan, "quickstart", results=in_memory)
    shutil.rmtree(earlier.folder)
    launch = launched(plan, in_memory, warm=warm)
    found = optuna_trials(launch.launch)
    from_earlier = [each for each in found if WARM_STARTED_FROM in each.user_attrs]
    assert [each.user_attrs[WARM_STARTED_FROM] for each in from_earlier] == [earlier.name] * 6
    assert [each.value for each in from_earlier] == [
        pytest.approx(30.0005 + each.params["alpha"] + each.params["learning_rate"] / 100) for each in from_earlier
    ]
    assert len(found) == 6 + 4
    assert launch.results[-1].counts == {"finished": 1 + 4 * 2}
    assert {record.spec["seed"] for record in launch.written if isinstance(record, TrialSubmitted)} == {2, 3}
    assert launch.store.tags[run_tags.PLANNED] == "9"


def test_the_run_says_what_it_started_from(plan_of, earlier, in_memory):
    plan = plan_of(*EARLIER, *HERE)
    launch = launched(plan, in_memory, warm=warm_of(plan, str(earlier.folder), results=in_memory))
    assert launch.store.tags[run_tags.WARM_START] == (
        f"{earlier.name}: 6 configurations with outcomes (6 complete), told by the means over its seeds 0, 1 "
        "(here 2, 3; seeds are replicates, so both estimate the same)"
    )
    assert isinstance(launch.written[0], WarmStarted)


@pytest.fixture(scope="module")
def whole():
    """Filled by the first test that needs it: what the launch gives whose driver is not killed."""
    return {}


@pytest.mark.parametrize(
    "first",
    [pytest.param(n, marks=[pytest.mark.thorough] if n % 5 else []) for n in range(1, EVERY + 1)],
)
def test_a_driver_is_killed_at_any_record(plan_of, earlier, in_memory, whole, first):
    """The earlier launch is gone when the next driver goes on."""
    plan = plan_of(*EARLIER, *HERE)
    warm = warm_of(plan, "quickstart", results=in_memory)
    if not whole:
        whole |= outcomes(launched(plan, in_memory / "undisturbed", warm=warm))
    shutil.rmtree(earlier.folder)
    assert outcomes(launched(plan, in_memory / "killed", warm=warm, deaths_from=first)) == whole


def test_another_model_gives_initial_points_alone(plan_of, earlier, in_memory):
    plan = plan_of(*EARLIER, *HERE)
    warm = warm_of(plan, "quickstart", results=in_memory, digest="others")
    (source,) = warm.sources
    assert source["line"] == (
        f"{earlier.name}: none of its outcomes enters, because its model is another (simulated weights, here "
        "others); 3 initial points (its best)"
    )
    assert not warm.entered
    best = sorted((each.value, each.params["alpha"], each.params["learning_rate"]) for each in optuna_trials(earlier))[
        :3
    ]
    assert [(point["alpha"], point["learning_rate"]) for point in warm.points] == [each[1:] for each in best]
    launch = launched(plan, in_memory, warm=warm)
    first = [(each.params["alpha"], each.params["learning_rate"]) for each in optuna_trials(launch.launch)][:3]
    assert first == [each[1:] for each in best]
