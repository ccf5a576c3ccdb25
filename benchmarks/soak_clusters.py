"""What a launch of the soak runs on: a Ray session of its driver's own, or a cluster that other nodes may join."""

import random
import time
from typing import Any, ClassVar

from nmlab.platform.testing.real_launches.launched import Nmlab, replicas_up, session
from nmlab.platform.testing.real_launches.raylet_cluster import PLACE, TOKEN, Raylets

COUNT = 2  # replicas
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
# Of a cluster: workers without work, and what Ray starts for all drivers to come or to clean up after a controller.
OF_THE_CLUSTER = (*AGENTS, "ray::IDLE", "ray::_AutoscalingCoordinatorActor", "ray::PlacementGroupCleaner")
STARTED_S = NAMED_S = 300.0


class LocalSession:
    """A Ray session that the driver starts. It listens on loopback only, so that no node can join it."""

    name = "local session"
    replica: ClassVar[dict[str, Any]] = {"count": COUNT, "slots": 1}
    arguments: tuple[str, ...] = ()

    def __init__(self, nmlab: Nmlab) -> None:
        self.variables = {"TMPDIR": str(nmlab.folder / "tmp")}

    def processes(self, driver: int) -> dict[int, str]:
        """Return the processes that belong to a driver, and it: command lines by process id."""
        return session(driver)

    def working(self, driver: int) -> dict[int, str]:
        """Return those that end with the driver; Ray's two agents stay half a minute after a crash, idle."""
        return {pid: command for pid, command in session(driver).items() if not command.startswith(AGENTS)}

    @property
    def late(self) -> set[str]:
        """The ids of the nodes that joined late; none can."""
        return set()

    def close(self) -> None:
        """A local session has ended with its driver."""


class RayletCluster(LocalSession):
    """A head and a node for each replica, for one launch. Replicas ask for what the head lacks, all else is there."""

    name = "cluster"
    replica: ClassVar[dict[str, Any]] = {**LocalSession.replica, "resources": {"custom": {PLACE: 1}}}

    def __init__(self, nmlab: Nmlab) -> None:
        super().__init__(nmlab)
        # Ray's sockets are not in the launch's folder: their paths may have 107 bytes.
        self._raylets = Raylets(nmlab.folder, **self.variables, RAY_TMPDIR=str(nmlab.folder.parent))
        self.variables |= TOKEN
        self.arguments = ("--address", self._raylets.address)
        try:
            for _ in range(COUNT):
                self._raylets.add()
        except BaseException:
            self.close()
            raise

    def processes(self, driver: int) -> dict[int, str]:
        leaders = (driver, self._raylets.process.pid, *(node.pid for node in self._raylets.blind.values()))
        return {pid: command for leader in leaders for pid, command in session(leader).items()}

    def working(self, driver: int) -> dict[int, str]:
        """Return those that end with the driver, not those of the cluster itself."""
        found = {pid: command for pid, command in self.processes(driver).items() if command.startswith("ray::")}
        working = {pid: command for pid, command in found.items() if not command.startswith(OF_THE_CLUSTER)}
        return session(driver) | working

    def join_late(self, nmlab: Nmlab, process, *, chance: random.Random) -> str:
        """Let a node join that does not see the results, and kill the node of a replica, which moves to the late one.

        Once it was refused there, and the launch's status names the late node and why, a node joins that sees the
        results. Returns the id of the late node.
        """

        def wait_until(condition, what: str) -> None:
            nmlab.wait_until(condition, process=process, what=what, seconds=NAMED_S)

        wait_until(lambda: len(replicas_up(nmlab.journal())) == COUNT, "all replicas were up")
        late = self._raylets.add_blind(nmlab.folder / "results")
        self._raylets.kill(chance.choice([r["node_id"] for r in replicas_up(nmlab.journal()).values()]))
        wait_until(lambda: any(late in record["nodes"] for record in refusals(nmlab)), "a replica was refused there")
        wait_until(lambda: _is_named(nmlab, late), "the launch's status named the late node")
        self._raylets.add()
        return late

    @property
    def late(self) -> set[str]:
        """The ids of the nodes that joined late."""
        return {*self._raylets.blind}

    def close(self) -> None:
        self._raylets.close()


def _is_named(nmlab: Nmlab, node_id: str) -> bool:
    line = nmlab.status()["trouble"].get(f"node {node_id}", "")
    return line.startswith("refused: ") and "cannot read the launch's folder" in line


def until_gone(ray: LocalSession, driver: int, *, seconds: float) -> float:
    """Return how many seconds the processes of a driver that has ended took to end; raise after ``seconds``.

    Most end at once; without its head, a process of Ray looks for it for 60 s (gcs_rpc_server_reconnect_timeout_s).
    """
    began = time.monotonic()
    while left := ray.working(driver):
        took, names = time.monotonic() - began, [command[:60] for command in left.values()]
        assert took < seconds, f"{took:.0f} s after their driver there are still {names}"
        time.sleep(0.2)
    return time.monotonic() - began


def refusals(nmlab: Nmlab) -> list[dict[str, Any]]:
    """Return the records of replicas that were refused for their nodes."""
    return [record for record in nmlab.journal() if record["event"] == "replica refused" and record.get("nodes")]


def check_late_nodes(nmlab: Nmlab, late: set[str]) -> int:
    """Return how many replicas were refused; raise unless each late node was named by its id and had no replica."""
    found = refusals(nmlab)
    assert {node for record in found for node in record["nodes"]} == late, (found, late)
    assert all("cannot read the launch's folder" in record["reason"] for record in found), found
    assert not late & {record["node_id"] for record in nmlab.journal() if record["event"] == "replica"}
    return len(found)
