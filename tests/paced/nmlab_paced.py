"""A method whose steps wait instead of computing, as long as a test wants: for tests of faults in the middle of trials.

A trial of it is otherwise that of any learned method: it starts from a shared mask, has a state in its checkpoints, and
records points. Each step mixes its number into a digest, which is the state; losses and final masks depend on nothing
else. A step that is left out, taken twice, or taken from another state therefore changes every later loss and the mask.

`GATE` names a file that says how far trials may go (``tests/support/gates.py`` writes it).
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.masks.randomness import key_bits, keyed_generator
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.base import About, Method, MethodConfig, Run, TrialContext, default_from
from nmlab.trials.methods.initial_masks import initial_mask
from nmlab.trials.models import PrunableLayer

GATE = "NMLAB_PACED_GATE"
"""The variable with the path of a file: JSON, by seed the last step that its trials may take. One that is not named, or
a file that is not there, sets no limit. Without the variable steps take no time."""
STEP_SECONDS = 0.01
_LOOK_SECONDS = 0.05


class PacedConfig(MethodConfig):
    steps: int = Field(default=100, ge=1, description="steps to wait for", json_schema_extra=default_from("ours"))
    alpha: float = Field(default=0.9, description="any number", json_schema_extra=default_from("ours"))
    initial_mask: str = Field(
        default="magnitude", description="what it is compared with", json_schema_extra=default_from("ours")
    )


class Paced(Method):
    name = "paced"
    about = About("Waits.", paper="none; a test of nmlab", cost="nothing")
    config = PacedConfig
    learned = True
    depends_on_seed = True
    supports_pipeline_stages = True

    def start(self, context: TrialContext, config: PacedConfig) -> Run:
        return PacedRun(context, config)


class PacedRun(Run):
    def __init__(self, context: TrialContext, config: PacedConfig) -> None:
        self.steps = config.steps
        self._context = context
        masks = initial_mask(config.initial_mask, context)
        self._initial = {name: (pack(mask), mask.shape) for name, mask in masks.items()}
        self._digest = key_bits(context.seed, str(config.alpha)).to_bytes(16, "little")
        context.cost.trainable_params = len(self._digest)

    def step(self, step: int) -> Mapping[str, float]:
        _wait_at_gate(step, seed=self._context.seed)
        self._digest = hashlib.blake2b(self._digest + step.to_bytes(8, "little"), digest_size=16).digest()
        return {"train/loss": 1.0 + int.from_bytes(self._digest[:4], "little") / 2**32}

    def masks(self) -> dict[str, Tensor]:
        layers, pattern = self._context.model.frozen.layers, self._context.pattern
        return {layer.name: topn(self._scores(layer), pattern) for layer in layers}

    def _scores(self, layer: PrunableLayer) -> Tensor:
        generator = keyed_generator(self._digest.hex(), layer.name)
        return torch.from_numpy(generator.random((layer.out_features, layer.in_features)))

    def initial_masks(self) -> dict[str, Tensor]:
        return {name: unpack(bits, shape=shape) for name, (bits, shape) in self._initial.items()}

    def state(self) -> dict[str, Tensor]:
        return {"digest": torch.tensor(list(self._digest), dtype=torch.uint8)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._digest = bytes(state["digest"].tolist())

    @property
    def state_bytes(self) -> int:
        return super().state_bytes + sum(bits.numel() for bits, _ in self._initial.values())


def _wait_at_gate(step: int, *, seed: int) -> None:
    """Wait until trials of this seed may take one step more than ``step``."""
    if GATE not in os.environ:
        return
    time.sleep(STEP_SECONDS)
    while _last_step(Path(os.environ[GATE]), seed=seed) <= step:
        time.sleep(_LOOK_SECONDS)


def _last_step(gate: Path, *, seed: int) -> float:
    try:
        limits = json.loads(gate.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return float("inf")
    return float(limits.get(str(seed), "inf"))


METHOD = Paced()
