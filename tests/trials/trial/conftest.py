"""A trial that runs from its beginning to its end in a folder of its own."""

import pytest

from nmlab.trials.trial.run import run_trial


@pytest.fixture
def run(replica, tmp_path, listener):
    """Run a trial; returns its result and what it recorded."""

    def go(spec):
        events = listener()
        return run_trial(spec, replica=replica, folder=tmp_path / "trial", events=events), events

    return go
