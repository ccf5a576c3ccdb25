"""What the trials of one replica share: the frozen model, its text in tokens, and results that are computed once."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from nmlab.trials.context.result_cache import CACHE_BYTES, ResultCache
from nmlab.trials.contract.sections import CalibrationSpec, HeldOutText
from nmlab.trials.data import TextSource, Windows, evaluation_windows, read_calibration
from nmlab.trials.models import FrozenModel
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup

T = TypeVar("T")


class ReplicaContext:
    """A frozen model with everything that depends on it alone, safe to use from several threads.

    Args:
        frozen: the model.
        initial_masks: a folder in which the masks that trials start from are kept for other processes.
        cache_bytes: the most bytes of results that are kept in memory for later trials.
    """

    def __init__(
        self, frozen: FrozenModel, *, initial_masks: Path | None = None, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.frozen = frozen
        self.initial_masks = initial_masks
        self.results = ResultCache(cache_bytes)

    def get_or_compute(self, key: Hashable, compute: Callable[[], T], *, pipeline: PipelineGroup = SINGLE_PROCESS) -> T:
        """Return ``compute()``, computed once for all that ask for ``key``; see ``ResultCache.get_or_compute``."""
        return self.results.get_or_compute(key, compute, pipeline=pipeline)

    def calibration(self, spec: CalibrationSpec) -> list[Tensor]:
        """Return the fixed minibatches of calibration tokens, each int64 [batch, sequence_length]."""
        return self.get_or_compute(
            ("calibration", spec), lambda: read_calibration(spec, tokenizer=self.frozen.tokenizer)
        )

    def held_out(self, spec: HeldOutText) -> Windows:
        """Return the windows of a held-out text."""
        text = TextSource.held_out(spec)
        return self.get_or_compute(
            ("held-out text", text, spec.windowing, spec.sequence_length, spec.windows),
            lambda: evaluation_windows(
                text,
                tokenizer=self.frozen.tokenizer,
                sequence_length=spec.sequence_length,
                limit=spec.windows,
                windowing=spec.windowing,
            ),
        )
