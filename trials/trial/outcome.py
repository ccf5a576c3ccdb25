"""The result of a trial, and the interface through which it reports events while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from nmlab.trials.contract.run_status import TrialEnd
from nmlab.trials.contract.run_tags import Fact, flag
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.files.file_digest import FileDescription


class Events(Protocol):
    """Receives what a trial records while it runs, and can ask it to stop."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Receive values after ``step`` steps; a resumed trial repeats its earlier points, with equal values."""

    def cancelled(self) -> bool:
        """Return whether the trial is to save its state and stop."""


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended: its status, last metrics, artifacts, and the reason if it did not finish."""

    key: str
    status: TrialEnd
    step: int
    metrics: Mapping[str, float]
    reason: str = ""
    artifacts: tuple[str, ...] = ()
    files: Mapping[str, FileDescription] = field(default_factory=dict)
    """Size and digest of every artifact by name, for processes that read it elsewhere."""
    model_digest: str = ""
    notes: tuple[str, ...] = ()
    """What a reader must know besides the numbers, a line each."""
    initial_masks: Mapping[str, JsonObject] = field(default_factory=dict)
    """The masks it started from, by digest: what each is, was made from and cost, and the key of its file."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What its numbers were measured with, if they compare only with numbers measured the same way, by ``Fact``."""


def facts_of(*, depends_on_seed: bool, tasks: str | None, train_loss: str | None = None) -> dict[str, str]:
    """Return the facts of a trial by ``Fact``.

    ``tasks`` is the line of ``TaskResults``, None where no task was run; ``train_loss`` says what the loss of training
    is, None where it is that of the text.
    """
    facts: dict[str, str | None] = {
        Fact.DEPENDS_ON_SEED: flag(depends_on_seed),
        Fact.TASKS: tasks,
        Fact.TRAIN_LOSS: train_loss,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


class NullEvents:
    """Ignores all events; for ranks and peers that run a trial along with its leader, which reports them."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Ignore the values."""

    def cancelled(self) -> bool:
        return False
