"""Frozen language models: where they come from, which layers are prunable, and how a mask is worn."""

from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.models.frozen import FrozenModel
from nmlab.trials.models.masked import MaskedModel
from nmlab.trials.models.prunable import PrunableLayer
from nmlab.trials.models.sources import locate

__all__ = ["FrozenModel", "MaskedModel", "ModelSource", "PrunableLayer", "locate"]
