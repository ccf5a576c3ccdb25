"""A simulated backend: whole launches in one process on a virtual clock, in an order drawn by a seed.

The code of a sweep is the real one: driver, records, journal, state, dispatcher, worker loop, outbox, searcher, trial
actors. Stand-ins replace Ray, clocks, threads, models, trials and MLflow. Equal seeds give equal launches.

    from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch, run_with_random_faults

    check_launch(run_with_random_faults(plan, folder, seed=17))

| module | what it is |
| --- | --- |
| `simulated_launch` | a launch, what a person does with it, and its faults |
| `random_faults`, `invariants` | faults drawn by a seed; what must hold whatever happened |
| `stand_ins` | which names of which modules are replaced |
| `scheduler`, `virtual_modules` | tasks one at a time on a virtual clock; ``time`` and ``threading`` by them |
| `simulated_ray`, `simulated_train`, `simulated_tune` | actors and calls that get lost; Train runs; the loop of Tune |
| `simulated_trials`, `simulated_store` | trials whose values depend on their keys alone; what reaches MLflow |

Replacing names in modules is for one simulation at a time in a process.
"""

from nmlab.platform.testing.simulation.invariants import check_journal, check_launch
from nmlab.platform.testing.simulation.random_faults import RandomFaults, run_with_random_faults
from nmlab.platform.testing.simulation.simulated_launch import SimulatedLaunch
from nmlab.platform.testing.simulation.simulated_ray import Network

__all__ = [
    "Network",
    "RandomFaults",
    "SimulatedLaunch",
    "check_journal",
    "check_launch",
    "run_with_random_faults",
]
