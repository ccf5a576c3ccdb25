"""Engines hold the logits of a trial's groups, sample masks from them and update them along the score."""

from nmlab.trials.engines.choice import ENGINES, make_engine
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.linear import LinearEngine
from nmlab.trials.engines.logits import LogitStore, initial_store, store_of
from nmlab.trials.engines.reference import ReferenceEngine

__all__ = [
    "ENGINES",
    "Draw",
    "Engine",
    "GroupLayout",
    "LinearEngine",
    "LogitStore",
    "MaskKey",
    "ReferenceEngine",
    "initial_store",
    "make_engine",
    "store_of",
]
