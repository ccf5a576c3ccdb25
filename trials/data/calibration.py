"""The calibration text of a trial as fixed minibatches of windows: of one text, or of a mixture."""

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.data.sources import TextSource
from nmlab.trials.data.windows import calibration_batches, mixture_batches


def read_calibration(spec: CalibrationSpec, *, tokenizer: PreTrainedTokenizerBase) -> list[Tensor]:
    """Return the minibatches of tokens, each int64 [batch, sequence_length].

    Raises ``SourceError`` for a text that cannot be read or is too short, and for fewer samples than texts.
    """
    texts = TextSource.of_calibration(spec)
    cut = {"sequence_length": spec.sequence_length, "batch_size": spec.batch_size, "seed": spec.seed}
    if not spec.is_mixture:
        return calibration_batches(texts[0], tokenizer=tokenizer, samples=spec.samples, **cut)
    try:
        counts = spec.window_counts
    except ValueError as error:
        raise SourceError(f"data.calibration.samples = {error}") from error
    return mixture_batches(list(zip(texts, counts, strict=True)), tokenizer=tokenizer, **cut)
