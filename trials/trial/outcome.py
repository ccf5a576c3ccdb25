"""How a trial ends, and who listens while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nmlab.trials.contract.run_status import TrialEnd
from nmlab.trials.contract.run_tags import Fact, flag


class Events(Protocol):
    """Who listens to a trial."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take values after ``step`` steps; a resumed trial repeats points that it gave before, with equal values."""

    def cancelled(self) -> bool:
        """Say whether the trial should save its state and stop."""


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended, its last metrics, and why it did not finish where it did not."""

    key: str
    status: TrialEnd
    step: int
    metrics: Mapping[str, float]
    reason: str = ""
    artifacts: tuple[str, ...] = ()
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Size (``bytes``) and ``digest`` of every artifact, by its name, for whoever reads it elsewhere."""
    model_digest: str = ""
    notes: tuple[str, ...] = ()
    """What a reader must know beside the numbers, a line each."""
    initial_masks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The masks it started from, by digest: what each is, was made from and cost, and the key of its file."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What its numbers were measured with, where they compare only with others measured alike, by ``Fact``."""


def facts_of(*, depends_on_seed: bool, tasks: str | None) -> dict[str, str]:
    """Return the facts of a trial by ``Fact``; ``tasks`` is the line of ``TaskResults``, None where no task was run."""
    facts: dict[str, str] = {Fact.DEPENDS_ON_SEED: flag(depends_on_seed)}
    return facts if tasks is None else {**facts, Fact.TASKS: tasks}


class NullEvents:
    """The events of those who run a trial along with its leader: all would tell the same."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Let it pass."""

    def cancelled(self) -> bool:
        return False
