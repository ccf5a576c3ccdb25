"""Whatever happens in whatever order, each submitted trial ends once and nobody speaks for it out of turn."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nmlab.platform.hub import HubState

HOSTS, KEYS = st.sampled_from("ab"), st.sampled_from("xy")
MAX_FAILURES = 2


@dataclass
class Lease:
    """What a replica believes it holds, and whether it is entitled to believe so."""

    host: str
    key: str
    epoch: int
    valid: bool = True


@dataclass
class Submission:
    """One accepted submission of a key, and how often it was seen to end."""

    cancelled: bool = False
    ends: int = 0


class Hub(RuleBasedStateMachine):
    """A second, simpler book-keeping beside the hub's: who may speak, and which submissions have ended."""

    @initialize()
    def start(self):
        self.hub = HubState(max_failures=MAX_FAILURES)
        self.clock, self.count = 0.0, 0
        self.incarnations: dict[str, str] = {}
        self.leases: list[Lease] = []
        self.submissions: dict[str, Submission] = {}
        for host in "ab":
            self.register(host)

    @rule(host=HOSTS, how=st.sampled_from(["says goodbye", "is replaced", "falls silent"]))
    def lose(self, host, how):
        if host not in self.incarnations:
            self.register(host)
        elif how == "is replaced":
            self.forget(host)
            self.register(host)
        elif how == "says goodbye":
            self.forget(host)
            self.hub.leave(host, self.incarnations.pop(host))
        else:
            self.fall_silent(host)

    def register(self, host):
        self.count += 1
        self.incarnations[host] = f"{host}{self.count}"
        self.hub.register(host, self.incarnations[host], {}, now=self.clock)

    def fall_silent(self, host):
        """Everybody but this replica sends a heartbeat in time."""
        self.clock += 100.0
        self.forget(host)
        del self.incarnations[host]
        for other, incarnation in self.incarnations.items():
            assert self.hub.heartbeat(other, incarnation, now=self.clock) is not None
        self.hub.expire(now=self.clock)

    @rule(key=KEYS)
    def submit(self, key):
        current = self.submissions.get(key)
        if current is None or current.cancelled:
            self.submissions[key] = Submission()
            self.revoke(key)
        self.hub.submit(key, {"key": key})

    @rule(host=HOSTS)
    def take(self, host):
        incarnation = self.incarnations.get(host, "nobody")
        job = self.hub.take(host, incarnation)
        if job is not None:
            assert host in self.incarnations
            assert not any(lease.valid and lease.key == job["key"] for lease in self.leases), "leased twice"
            self.leases.append(Lease(host, job["key"], job["epoch"]))

    @rule(data=st.data())
    def push(self, data):
        """Any lease ever given may speak; only a valid one is heard."""
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            self.see()
            go_on = self.hub.push(lease.key, lease.epoch, [{"step": 1, "time": 0, "values": {"train/loss": 1.0}}])
            heard = [record for record in self.hub.drain() if record["event"] == "metrics"]
            assert len(heard) == lease.valid
            assert go_on == (lease.valid and not self.submissions[lease.key].cancelled)

    @rule(data=st.data(), status=st.sampled_from(["finished", "diverged", "stopped"]))
    def finish(self, data, status):
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            self.see()
            result = {"key": lease.key, "status": status, "step": 1, "metrics": {}, "reason": ""}
            expected = [lease.key] if lease.valid else []
            self.hub.finish(lease.key, lease.epoch, result)
            assert self.see() == expected

    @rule(key=KEYS)
    def cancel(self, key):
        if key in self.submissions and not self.submissions[key].ends:
            self.submissions[key].cancelled = True
        self.hub.cancel(key)

    @invariant()
    def nothing_ends_twice(self):
        self.see()
        assert all(submission.ends <= 1 for submission in self.submissions.values())

    def teardown(self):
        """Once a replica stays up, everything that was submitted ends, and once only."""
        if not hasattr(self, "hub"):
            return
        for lease in self.leases:
            if lease.valid:
                self.finish_now(lease.key, lease.epoch)
        self.hub.register("c", "c1", {}, now=self.clock)
        while (job := self.hub.take("c", "c1")) is not None:
            self.finish_now(job["key"], job["epoch"])
        self.see()
        assert {key: submission.ends for key, submission in self.submissions.items()} == dict.fromkeys(
            self.submissions, 1
        )
        assert self.hub.snapshot()["running"] == 0

    def finish_now(self, key, epoch):
        self.hub.finish(key, epoch, {"key": key, "status": "finished", "step": 1, "metrics": {}, "reason": ""})

    def see(self):
        """Take note of the ends that the hub told, and return their keys."""
        ended = [record["key"] for record in self.hub.drain() if record["event"] == "ended"]
        for key in ended:
            self.submissions[key].ends += 1
            self.revoke(key)
        return ended

    def forget(self, host):
        for lease in self.leases:
            lease.valid = lease.valid and lease.host != host

    def revoke(self, key):
        for lease in self.leases:
            lease.valid = lease.valid and lease.key != key


Hub.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestHub = Hub.TestCase
