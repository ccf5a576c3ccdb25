"""Launches in the simulated backend whose search is confirmed: what was chosen, and what has ended of it."""

from nmlab.platform.records.events import ConfirmationChosen
from nmlab.platform.search.confirmation import confirmations_of
from nmlab.platform.testing.simulation import check_launch


def choices(launch):
    """Return every choice in the journal."""
    return [record for record in launch.written if isinstance(record, ConfirmationChosen)]


def has_chosen(launch):
    return bool(choices(launch))


def confirming(launch):
    """Return the results of the trials of the confirmation that have ended, by key."""
    return {key: end for key, end in launch.ended().items() if key in confirmations_of(launch.written).trials}


def finished(launch):
    """Run a driver to its end, and check the launch; return how it ended."""
    launch.start()
    result = launch.finish()
    check_launch(launch)
    return result
