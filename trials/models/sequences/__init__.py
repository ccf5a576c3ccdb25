"""One forward of a minibatch in which every sequence has masks of its own, close to those applied to the model."""

from nmlab.trials.models.sequences.deviations import LayerDeviations
from nmlab.trials.models.sequences.forward import masked_by_sequence
from nmlab.trials.models.sequences.independence import are_independent
from nmlab.trials.models.sequences.ways import Way

__all__ = ["LayerDeviations", "Way", "are_independent", "masked_by_sequence"]
