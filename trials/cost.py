"""One account of what a trial cost, the same for every method."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


@dataclass
class Cost:
    """Forward and backward passes (of one minibatch each), tokens they read, and seconds by phase."""

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0
    trainable_params: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def phase(self, name: str, *, device: torch.device) -> Iterator[None]:
        """Time a phase; on a GPU the queue is drained at both ends, so that the phase pays for its own kernels."""
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

    def metrics(self, *, steps: int) -> dict[str, float]:
        """Return the account under the names of the MLflow contract; phase times are seconds per step."""
        names = {phase: "step" if phase == "total" else phase for phase in self.seconds}
        per_step = {f"time/{names[phase]}_s": total / max(1, steps) for phase, total in self.seconds.items()}
        return {
            "cost/forwards": float(self.forwards),
            "cost/backwards": float(self.backwards),
            "cost/tokens": float(self.tokens),
            "cost/seconds": self.seconds["total"],
            "cost/trainable_params": float(self.trainable_params),
            **per_step,
        }

    def state(self) -> dict[str, float]:
        """Return plain numbers that ``restore`` takes back after a checkpoint."""
        counts = {"forwards": self.forwards, "backwards": self.backwards, "tokens": self.tokens}
        return {**counts, **{f"seconds/{phase}": total for phase, total in self.seconds.items()}}

    def restore(self, state: dict[str, float]) -> None:
        """Go on counting from ``state``."""
        self.forwards, self.backwards = int(state["forwards"]), int(state["backwards"])
        self.tokens = int(state["tokens"])
        phases = {name.removeprefix("seconds/"): value for name, value in state.items() if name.startswith("seconds/")}
        self.seconds.update(phases)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
