"""How good a masked model is."""

from nmlab.trials.evaluation.perplexity import Perplexity, measure

__all__ = ["Perplexity", "measure"]
