"""How the threads of one computation wait for each other: asleep, so that what else the machine does matters little.

OpenMP's threads spin for milliseconds as a rule before they sleep. One that spins holds the core on which the one it
waits for would run. Beside one busy process that made a trial of two threads 24 times slower; asleep it takes 1.3 times
as long (docs/LOG.md, `benchmarks/busy_machine.py`). On an idle machine there is no difference that can be measured.
"""

import os

_POLICY = "OMP_WAIT_POLICY"


def patience() -> dict[str, str]:
    """Return the environment in which a process waits so, unless the user has chosen; it is read as torch is loaded."""
    return {_POLICY: os.environ.get(_POLICY, "PASSIVE")}
