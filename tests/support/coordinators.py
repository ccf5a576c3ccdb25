"""One coordinator for the members of a trial that are threads of one process, and what must not depend on them."""

import threading
import time
from collections import Counter

import numpy as np
from safetensors.numpy import load_file

from nmlab.platform.mask_parallel.coordinator import MaskParallelCoordinator
from nmlab.platform.mask_parallel.group import LEADER


class SharedCoordinator:
    """The coordinator of one process: calls wait on a lock as those of the actor wait on its event loop."""

    def __init__(self):
        self.coordinator, self._changed = MaskParallelCoordinator(), threading.Condition()

    def ask(self, method, *args, within=0.0):
        with self._changed:
            if method == "call":
                name, *rest = args
                timed = {"now": time.monotonic()} if name in ("open", "present") else {}
                answer = getattr(self.coordinator, name)(*rest, **timed)
                self._changed.notify_all()
                return answer
            if method == "offer":
                return self.coordinator.offer(now=time.monotonic())
            return self._attend(*args, within=within)

    def wait_for_members(self, count, *, within=60.0):
        """Wait until the group that is open, if one is, has so many members that have sent a message."""
        deadline = time.monotonic() + within
        while any(len(held.seen) < count for held in list(self.coordinator._open.values())):
            assert time.monotonic() < deadline, f"not all {count} members have started within {within:g} s"
            time.sleep(0.01)

    def _attend(self, key, epoch, member, step, given, digest, saved, *, within):
        deadline = time.monotonic() + within
        answer = self.coordinator.attend(key, epoch, member, step, given, digest, saved, now=time.monotonic())
        self._changed.notify_all()
        while answer is None and time.monotonic() < deadline:
            self._changed.wait(0.05)
            answer = self.coordinator.attend(key, epoch, member, step, {}, digest, saved, now=time.monotonic())
        if answer is None and member == LEADER:
            self.coordinator.take_over(key)
            answer = self.coordinator.attend(key, epoch, member, step, {}, digest, saved, now=time.monotonic())
        return answer or {"wait": True}


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
