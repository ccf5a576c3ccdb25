"""What the trials of one replica share: the frozen model, its text in tokens, and results that are computed once."""

import threading
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import Tensor

from nmlab.trials.crew import ALONE, Crew
from nmlab.trials.data import TextSource, Windows, calibration_batches, evaluation_windows
from nmlab.trials.models import FrozenModel
from nmlab.trials.spec import CalibrationSpec, EvaluationSpec

T = TypeVar("T")


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    ready: threading.Event = field(default_factory=threading.Event)
    value: Any = None

    def put(self, value: Any) -> None:
        self.value = value
        self.ready.set()


class Workbench:
    """A frozen model with everything that depends on it alone, safe to use from several threads.

    ``initial_masks`` is a folder in which masks that trials start from are kept for other processes.
    """

    def __init__(self, frozen: FrozenModel, *, initial_masks: Path | None = None) -> None:
        self.frozen = frozen
        self.initial_masks = initial_masks
        self._entries: dict[Hashable, _Entry] = {}
        self._guard = threading.Lock()

    def once(self, key: Hashable, compute: Callable[[], T], *, crew: Crew = ALONE) -> T:
        """Return ``compute()``, computed by whoever asks first for ``key``; the others wait for it.

        A failed computation is not remembered: the next one who asks tries again. A ``crew`` that computes together
        does so where its leader finds nothing; had each member looked for itself, two crews could wait for each other.
        """
        with self._guard:
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock if crew.leads else nullcontext():
            if crew.tell(not entry.ready.is_set()):
                value = compute()
                crew.everyone(None)  # where one failed, nobody believes to have a value
                entry.put(value)
        entry.ready.wait()  # of another crew's member, which has all but put it there
        return cast(T, entry.value)

    def calibration(self, spec: CalibrationSpec) -> list[Tensor]:
        """Return the fixed minibatches of calibration tokens, each int64 [batch, sequence_length]."""
        text = TextSource(spec.source, part="calibration", split=spec.split, column=spec.column)
        return self.once(
            ("calibration", spec),
            lambda: calibration_batches(
                text,
                tokenizer=self.frozen.tokenizer,
                samples=spec.samples,
                sequence_length=spec.sequence_length,
                batch_size=spec.batch_size,
                seed=spec.seed,
            ),
        )

    def evaluation(self, spec: EvaluationSpec) -> Windows:
        """Return the windows of held-out text."""
        text = TextSource(spec.source, part="evaluation", split=spec.split, column=spec.column)
        others = {"batch_size": 1, "perplexity": "token", "tasks": (), "few_shot": None, "questions": None}
        key = ("evaluation", spec.model_copy(update=others))
        return self.once(
            key,
            lambda: evaluation_windows(
                text,
                tokenizer=self.frozen.tokenizer,
                sequence_length=spec.sequence_length,
                limit=spec.windows,
                windowing=spec.windowing,
            ),
        )
