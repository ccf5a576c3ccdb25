"""Launches with faults drawn by a seed: what is killed, frozen, cut off, filled up or asked to stop, and when."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nmlab.platform.planning.study_plan import Plan
from nmlab.platform.records.events import TrialEnded
from nmlab.platform.testing.simulation.invariants import check_journal
from nmlab.platform.testing.simulation.simulated_launch import SimulatedLaunch
from nmlab.platform.testing.simulation.simulated_ray import Network

MOST_FAILURES = 1000
"""Losses that a trial or a replica may have: enough that none fails, so that every launch must end as planned."""
NODES = ("node-1", "node-2")
BLIND = "node-blind"


class RandomFaults:
    """The faults of one launch, each a method that returns nothing and may find nothing to disturb.

    Args:
        launch: the launch.
    """

    def __init__(self, launch: SimulatedLaunch) -> None:
        self._launch, self._draw = launch, launch.scheduler.random
        self._full_until = self._away_until = self._gone_until = 0.0
        launch.before_write = self._write
        launch.store.check = self._reach_store
        launch.unreadable = self._unreadable
        self.done: list[str] = []
        """The names of the faults so far, with their times."""

    def happen(self) -> None:
        """Let one fault happen, or nothing for a while."""
        launch, now = self._launch, self._launch.scheduler.now
        weighted: dict[Callable[[], Any], float] = {
            launch.kill_worker: 4,
            lambda: launch.freeze_worker(self._draw.choice((1.0, 10.0, 20.0, 40.0))): 2,
            launch.kill_controller: 2,
            launch.kill_trial_actor: 4,
            lambda: launch.kill_actor("dispatcher"): 5,
            lambda: launch.kill_actor("coordinator"): 2,
            self._restart_the_dispatcher_without_a_worker: 2,
            self._lose_a_node: 2,
            self._show_a_blind_node: 1,
            self._fill_the_disk: 1,
            self._take_the_store_away: 1,
            self._hide_files: 1,
            launch.kill_driver: 1.5,
            launch.interrupt: 1,
        }
        fault = self._draw.choices(list(weighted), weights=list(weighted.values()))[0]
        self.done.append(f"{now:.2f} {getattr(fault, '__name__', 'fault')}")
        fault()

    def end(self) -> None:
        """Let no fault last any longer, and bring all nodes back."""
        launch = self._launch
        self._full_until = self._away_until = self._gone_until = 0.0
        launch.network.lost = launch.network.twice = launch.network.late = 0.0
        launch.blind.clear()
        for node in NODES:
            launch.add_node(node)

    def _restart_the_dispatcher_without_a_worker(self) -> None:
        """Let a worker miss the time in which a restarted dispatcher waits: its trial goes to another meanwhile."""
        self._launch.freeze_worker(self._draw.uniform(4.0, 12.0))
        self._launch.kill_actor("dispatcher")

    def _lose_a_node(self) -> None:
        node, launch = self._draw.choice(NODES), self._launch
        launch.lose_node(node)
        launch.scheduler.later(self._draw.uniform(0.5, 10.0), lambda: launch.add_node(node))

    def _show_a_blind_node(self) -> None:
        self._launch.add_node(BLIND, is_blind=True)
        self._launch.kill_worker()

    def _fill_the_disk(self) -> None:
        self._full_until = self._launch.scheduler.now + self._draw.uniform(0.5, 8.0)

    def _take_the_store_away(self) -> None:
        self._away_until = self._launch.scheduler.now + self._draw.uniform(0.5, 8.0)

    def _hide_files(self) -> None:
        self._gone_until = self._launch.scheduler.now + self._draw.uniform(0.5, 4.0)

    def _write(self) -> None:
        if self._launch.scheduler.now < self._full_until:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _reach_store(self) -> None:
        self._launch.scheduler.check()
        if self._launch.scheduler.now < self._away_until:
            raise OSError("database is locked")

    def _unreadable(self, record: TrialEnded) -> str:
        return "its file is gone" if self._launch.scheduler.now < self._gone_until else ""


def run_with_random_faults(plan: Plan, folder: Path, *, seed: int, faults: int = 6) -> SimulatedLaunch:
    """Run a launch to its planned end through so many faults, drawn by the seed; return it for further checks.

    The driver is started again whenever it has ended early. Raises ``AssertionError``, with the seed and the faults, if
    an invariant is broken or the launch does not come to its end.
    """
    network = Network(late=0.02, lost=0.01, twice=0.02)
    with SimulatedLaunch(plan, folder, seed=seed, network=network, max_failures=MOST_FAILURES, nodes=NODES) as launch:
        drawn = RandomFaults(launch)
        try:
            for _ in range(faults):
                _keep_running(launch)
                launch.run_for(launch.scheduler.random.uniform(0.1, 2.5))
                drawn.happen()
                check_journal(launch)
            drawn.end()
            while not _is_complete(launch):
                _keep_running(launch)
                launch.finish()
        except (AssertionError, Exception) as error:
            raise AssertionError(f"seed {seed} after {drawn.done}: {error}") from error
    return launch


def _keep_running(launch: SimulatedLaunch) -> None:
    """Start a driver if none runs; one that ended by itself must have said how the launch stands."""
    if not launch.is_running and not _is_complete(launch):
        launch.start()


def _is_complete(launch: SimulatedLaunch) -> bool:
    return bool(launch.results) and not launch.is_running and launch.results[-1].is_success
