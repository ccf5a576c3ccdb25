"""Frozen language models: finding and loading them, their prunable layers, and applying masks to them."""

from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.models.frozen import FrozenModel
from nmlab.trials.models.masked import MaskedModel
from nmlab.trials.models.prunable import PrunableLayer
from nmlab.trials.models.sources import locate

__all__ = ["FrozenModel", "MaskedModel", "ModelSource", "PrunableLayer", "locate"]
