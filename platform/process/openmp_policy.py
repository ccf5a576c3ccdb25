"""Let the threads of a computation sleep while they wait for each other, so that a busy machine slows them little.

OpenMP's threads spin for milliseconds as a rule before they sleep. One that spins holds the core on which the one it
waits for would run. Beside one busy process that made a trial of two threads 24 times slower; asleep it takes 1.3 times
as long (docs/LOG.md, `benchmarks/busy_machine.py`). On an idle machine there is no difference that can be measured.
"""

import os

_POLICY = "OMP_WAIT_POLICY"


def patience() -> dict[str, str]:
    """Return the environment variable for it, unless the user has set one; torch reads it when it is loaded."""
    return {_POLICY: os.environ.get(_POLICY, "PASSIVE")}
