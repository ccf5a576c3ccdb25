"""The account of what a trial costs, the same for every method.

A trial is charged all that its method would cost alone, so that methods can be compared at equal budget. This includes
results that another trial had computed already; ``Cost.shared`` is the part that they cost.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Bill:
    """A sum of costs: forward and backward passes of one minibatch each, the tokens they read, and wall seconds."""

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Bill") -> "Bill":
        return Bill(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(Bill)})

    def __sub__(self, other: "Bill") -> "Bill":
        return Bill(**{item.name: getattr(self, item.name) - getattr(other, item.name) for item in fields(Bill)})

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return the four sums under names that begin with ``prefix``."""
        return {f"{prefix}{name}": float(value) for name, value in asdict(self).items()}


@dataclass
class Cost:
    """The cost of a trial as if it ran alone: forward and backward passes of one minibatch, tokens, seconds by phase.

    ``initial`` is the part that the initial mask cost, ``shared`` the part that other trials computed.
    """

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0
    trainable_params: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    initial: Bill = Bill()
    shared: Bill = Bill()
    start_seconds: float = 0.0
    _paused: float = field(default=0.0, repr=False)

    @property
    def bill(self) -> Bill:
        """The cost as if the trial ran alone."""
        return Bill(self.forwards, self.backwards, self.tokens, self.seconds["total"])

    @property
    def spent(self) -> Bill:
        """What was computed for this trial: the cost less the part that other trials computed."""
        return self.bill - self.shared

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Add the wall time of the block to the total, without waiting for a GPU's queue."""
        self._paused, start = 0.0, time.perf_counter()
        try:
            yield
        finally:
            self.seconds["total"] += time.perf_counter() - start - self._paused

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude the wall time of the block from ``watch``: it is not charged, or charged by a bill."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - start

    @contextmanager
    def phase(self, name: str, *, device: torch.device) -> Iterator[None]:
        """Time a phase; a GPU's queue is emptied at both ends, so that the phase includes exactly its own kernels."""
        _synchronise(device)
        start = time.perf_counter()
        try:
            yield
        finally:
            _synchronise(device)
            self.seconds[name] += time.perf_counter() - start

    def count_forward(self, tokens: int) -> None:
        self.forwards += 1
        self.tokens += tokens

    def charge(self, bill: Bill, *, shared: Bill, initial: bool) -> None:
        """Add the cost of a result, of which other trials computed ``shared``; see ``TrialContext.share``."""
        self.forwards += bill.forwards
        self.backwards += bill.backwards
        self.tokens += bill.tokens
        self.seconds["total"] += bill.seconds
        self.shared += shared
        if initial:
            self.initial += bill

    def start_ended(self) -> None:
        """Record that the start has ended: the time so far belongs to no step."""
        self.start_seconds = self.seconds["total"]

    def metrics(self, *, steps: int) -> dict[str, float]:
        """Return the account by metric name; phase times are seconds per step.

        The time of a step excludes the start; for a method without steps it is the whole time.
        """
        phases = {f"{phase}_s": total for phase, total in self.seconds.items() if phase != "total"}
        phases["step_s"] = self.seconds["total"] - (self.start_seconds if steps else 0.0)
        return {
            **self.bill.metrics("cost/"),
            **self.initial.metrics("cost/initial_"),
            **self.spent.metrics("cost/spent_"),
            "cost/trainable_params": float(self.trainable_params),
            **{f"time/{name}": total / max(1, steps) for name, total in phases.items()},
        }

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint, from which ``restore`` continues."""
        counts = {"forwards": self.forwards, "backwards": self.backwards, "tokens": self.tokens}
        bills = {"initial": asdict(self.initial), "shared": asdict(self.shared)}
        return {**counts, **bills, "seconds": dict(self.seconds), "start_seconds": self.start_seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``, replacing what this start has cost, which ``state`` includes already."""
        self.forwards, self.backwards = int(state["forwards"]), int(state["backwards"])
        self.tokens, self.start_seconds = int(state["tokens"]), float(state["start_seconds"])
        self.initial, self.shared = Bill(**state["initial"]), Bill(**state["shared"])
        self.seconds.update(state["seconds"])


def nothing_spent() -> dict[str, float]:
    """Return the metrics of a trial that ended before it computed anything: every cost is 0."""
    return {name: value for name, value in Cost().metrics(steps=0).items() if name.startswith("cost/")}


@dataclass(frozen=True)
class Priced(Generic[T]):
    """A result with its cost as if computed alone, and what was spent where it was computed."""

    value: T
    bill: Bill
    spent: Bill


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
