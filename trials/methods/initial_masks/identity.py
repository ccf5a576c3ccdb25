"""What an initial mask depends on, and the key that follows from it."""

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from nmlab.trials.contract.values import JsonObject
from nmlab.trials.masks.bundle import BundleInfo
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, TrialContext


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
    return (name, context.pattern, context.calibration, _seed(registry.get(name), context))


def identity_of(method: Method, context: TrialContext) -> Identity:
    """Return the identity of the mask that ``method`` with its default hyperparameters finds in ``context``."""
    frozen = context.replica.frozen
    made_from = {
        "method": method.name,
        "hyperparameters": method.configure({}).model_dump(mode="json"),
        "pattern": str(context.pattern),
        "seed": _seed(method, context),
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


def _seed(method: Method, context: TrialContext) -> int:
    return context.seed if method.depends_on_seed else 0
