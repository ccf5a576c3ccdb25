"""The golden two-block decoder on which the authors' pruning codes were run, as a frozen model."""

from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.models import FrozenModel, MaskedModel

DISTILLED = (("2:4", "float32"), ("8:16", "float32"), ("2:4", "bfloat16"))
"""The patterns and models with which methods that distill are tried; others are further cases."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave the further patterns and models of methods that distill to `make thorough`."""
    if isinstance(item, pytest.Function) and "TestEveryMethodThatDistills" in item.nodeid and hasattr(item, "callspec"):
        given = item.callspec.params
        if "kind" in given and (given.get("pattern", "2:4"), given["kind"]) not in DISTILLED:
            item.add_marker(pytest.mark.thorough)


@pytest.fixture
def golden_model(freeze) -> Callable[[dict[str, torch.Tensor]], FrozenModel]:
    """The golden decoder is a Llama with unit norms, without rotation and without a last norm; return it frozen."""

    def build(golden):
        config = LlamaConfig(
            vocab_size=32, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            rms_norm_eps=1e-5, max_position_embeddings=8, tie_word_embeddings=False,
        )  # fmt: skip
        module = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
        weights = {f"{name[3:]}.weight": tensor for name, tensor in golden.items() if name.startswith("w0/")}
        weights |= {"model.embed_tokens.weight": golden["embed"], "lm_head.weight": golden["lm_head"]}
        missing, unexpected = module.load_state_dict(weights, strict=False)
        assert not unexpected
        assert all("norm" in name for name in missing)
        module.model.rotary_emb.inv_freq.zero_()
        module.model.norm = torch.nn.Identity()
        return freeze(module)

    return build


class _GoldenContext(TrialContext):
    """A trial context whose calibration tokens are given and not cut from a text."""

    tokens: torch.Tensor

    @property
    def batches(self):
        return list(torch.split(self.tokens, 2))


@pytest.fixture
def golden_context(golden_model) -> Callable[..., TrialContext]:
    """Make the trial context of the golden decoder and its five sequences, in minibatches of unequal sizes."""

    def make(golden, pattern: Pattern):
        frozen = golden_model(golden)
        context = _GoldenContext(
            ReplicaContext(frozen), MaskedModel(frozen), pattern, CalibrationSpec(source="golden"), 0
        )
        context.tokens = golden["ids"]
        return context

    return make
