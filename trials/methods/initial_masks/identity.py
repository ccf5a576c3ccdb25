"""What an initial mask depends on, and the key that follows from it."""

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from nmlab.trials.contract.values import JsonObject
from nmlab.trials.masks.bundle import BundleInfo
from nmlab.trials.methods.base import Method, MethodConfig, TrialContext
from nmlab.trials.methods.initial_masks.names import initial_mask_method


@dataclass(frozen=True)
class Identity:
    """All that an initial mask depends on (``made_from``, plain JSON), and what its file says it belongs to.

    The calibration text is identified by its tokens, the model by its weights, and neither by its name.
    """

    made_from: JsonObject
    info: BundleInfo

    @property
    def key(self) -> str:
        """16 hexadecimal digits over everything that the mask depends on; the name of its folder."""
        return self.info.trial_key


def initial_mask_key(name: str, context: TrialContext) -> tuple[Hashable, ...]:
    """Return a hashable key of an initial mask; it includes the trial's seed for a method that draws at random."""
    method, config = initial_mask_method(name)
    settings = config.model_dump_json()
    return (method.name, settings, context.pattern, context.calibration, _seed(method, config, context))


def identity_of(method: Method, config: MethodConfig, context: TrialContext) -> Identity:
    """Return the identity of the mask that ``method`` with the hyperparameters ``config`` finds in ``context``."""
    frozen = context.replica.frozen
    made_from = {
        "method": method.name,
        "hyperparameters": config.model_dump(mode="json"),
        "pattern": str(context.pattern),
        "seed": _seed(method, config, context),
        "model_digest": frozen.digest,
        "calibration_digest": _tokens_digest(context.batches),
        **({"leave_dense": list(left)} if (left := frozen.source.leave_dense) else {}),
    }
    key = hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=8).hexdigest()
    return Identity(made_from, BundleInfo(frozen.source.source, frozen.digest, str(context.pattern), method.name, key))


def _tokens_digest(batches: list[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for batch in batches:
        digest.update(json.dumps(list(batch.shape)).encode() + batch.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _seed(method: Method, config: MethodConfig, context: TrialContext) -> int:
    return context.seed if method.uses_seed(config) else 0
