"""One coordinator for the members of a trial that are threads of one process, and what must not depend on them."""

import threading
import time
from collections import Counter

import numpy as np
from safetensors.numpy import load_file

from nmlab.platform.mask_parallel.coordinator_state import MaskParallelCoordinator
from nmlab.platform.mask_parallel.messages import Wait


class SharedCoordinator:
    """The coordinator of one process: calls wait on a lock as those of the actor wait on its event loop."""

    def __init__(self):
        self.coordinator, self._changed = MaskParallelCoordinator(), threading.Condition()

    def open(self, leader, **group):
        with self._changed:
            self.coordinator.open(leader, **group, now=time.monotonic())
            self._changed.notify_all()

    def offer(self, *, within):
        with self._changed:
            return self.coordinator.offer(now=time.monotonic())

    def heartbeat(self, member):
        with self._changed:
            self.coordinator.heartbeat(member, now=time.monotonic())

    def notices(self, key):
        with self._changed:
            return self.coordinator.notices(key)

    def leave(self, member):
        with self._changed:
            self.coordinator.leave(member)
            self._changed.notify_all()

    def wait_for_members(self, count, *, within=60.0):
        """Wait until the group that is open, if one is, has so many members that have sent a message."""
        deadline = time.monotonic() + within
        while any(len(held.seen) < count for held in list(self.coordinator._open.values())):
            assert time.monotonic() < deadline, f"not all {count} members have started within {within:g} s"
            time.sleep(0.01)

    def report(self, member, step, *, given, digest, checkpoint, within):
        def report(given):
            return self.coordinator.report(
                member, step, given=given, digest=digest, checkpoint=checkpoint, now=time.monotonic()
            )

        with self._changed:
            deadline = time.monotonic() + within
            answer = report(given)
            self._changed.notify_all()
            while answer is None and time.monotonic() < deadline:
                self._changed.wait(0.05)
                answer = report({})
            if answer is None and member.leads:
                self.coordinator.take_over(member.key)
                answer = report({})
            return answer or Wait()


def once_all_are_in(coordinator, count, *, when=lambda: True):
    """Return what holds a leader back, once its group is open and ``when()``, until all members have started."""
    held_back = []

    def hold_back():
        if coordinator.coordinator._open and not held_back and when():
            coordinator.wait_for_members(count)
            held_back.append(True)

    return hold_back


class Listener:
    """The events of a trial, which keeps their metrics by step, and calls ``before_step`` before each step."""

    def __init__(self, before_step=lambda: None):
        self.points, self._before_step = {}, before_step

    def metrics(self, step, values):
        self.points.setdefault(step, {}).update(values)

    def cancelled(self):
        self._before_step()
        return False


class Counting:
    """Mask evaluators that count the masks evaluated here, by step."""

    def __init__(self, evaluators):
        self._evaluators, self.evaluated = evaluators, Counter()

    def losses(self, step, count, *, evaluate, digest):
        def note(index):
            self.evaluated[step] += 1
            return evaluate(index)

        return self._evaluators.losses(step, count, evaluate=note, digest=digest)

    def saved(self, step):
        self._evaluators.saved(step)


def in_threads(*calls):
    """Run calls at the same time; return what each returned, or raise what one raised."""
    results, errors = [None] * len(calls), []

    def run(number, call):
        try:
            results[number] = call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results


def trained(events):
    """Return the metrics that must not depend on which slot evaluated a mask."""
    return {
        step: {name: value for name, value in values.items() if name.startswith(("train/", "eval/", "initial/"))}
        for step, values in events.points.items()
    }


def assert_same_masks(first, second):
    ours, theirs = load_file(first / "mask.safetensors"), load_file(second / "mask.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
