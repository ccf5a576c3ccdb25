"""Dry runs: a forward and a backward of a model without its weights, to count memory and computation.

Tensors here have sizes but no contents (torch's fake tensors), so a model of any size and architecture takes about a
second and almost no memory. Counted is what torch asks for; an allocator's rounding and the scratch of kernels come on
top.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import AutoModelForCausalLM, PreTrainedModel

from nmlab.trials.compat import ATTENTION_ON_CPU, FakeTensorMode
from nmlab.trials.masks.layout import counts_repeats
from nmlab.trials.measure.tensor_meter import TensorMeter
from nmlab.trials.models import ModelSource, locate
from nmlab.trials.models.quiet import quiet
from nmlab.trials.models.reading import read_config
from nmlab.trials.models.training_objective import divergences, next_token_losses


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(
    gradient: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object
) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


# Attention kernels of the CPU, which torch's counter leaves out.
_ATTENTION = dict(zip(ATTENTION_ON_CPU, (_attention, _attention_backward), strict=True))


@dataclass(frozen=True)
class DryRunCounts:
    """Counts of a dry run: the most bytes alive at once beyond those before it, bytes written, kernel calls, flops."""

    peak_bytes: int
    written_bytes: int
    calls: int
    flops: int


class FakeTensorModel:
    """A model of tensors without contents (torch's fake tensors), for dry runs of forwards and backwards."""

    def __init__(self, source: ModelSource) -> None:
        config = read_config(locate(source))
        dtype = getattr(torch, source.dtype)
        self._begin(lambda: AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False))

    @classmethod
    def of(cls, make: Callable[[], PreTrainedModel]) -> "FakeTensorModel":
        """Return the model that ``make`` returns, called where tensors get no contents."""
        model = cls.__new__(cls)
        model._begin(make)
        return model

    def _begin(self, make: Callable[[], PreTrainedModel]) -> None:
        self._fake = FakeTensorMode()
        with self._fake:
            self._module = make().eval().requires_grad_(False)

    def forward(self, *, batch: int, length: int, distills: bool = False) -> DryRunCounts:
        """Count the loss of a minibatch [batch, length], as `MaskedModel.loss` computes it.

        With ``distills`` it is the divergence from the dense model's predictions, which count as memory of the step;
        the forward that makes them does not count.
        """
        with self._fake, torch.no_grad():
            return self._measured(lambda: self._loss({}, self._tokens(batch, length), distills=distills))

    def evaluation(self, *, batch: int, length: int) -> DryRunCounts:
        """Count a batch of evaluation, whose losses are computed window by window."""
        with self._fake, torch.no_grad():
            return self._measured(lambda: _window_losses(self._module, self._tokens(batch, length)))

    def backward(
        self, weights: Callable[[], Mapping[str, Tensor]], *, batch: int, length: int, distills: bool = False
    ) -> DryRunCounts:
        """Count the computation of ``weights``, of the loss of a minibatch under them, and of its gradient."""

        def step() -> None:
            torch.autograd.backward(self._loss(weights(), self._tokens(batch, length), distills=distills))

        with self._fake, torch.enable_grad():
            return self._measured(step)

    def _loss(self, weights: Mapping[str, Tensor], tokens_BT: Tensor, *, distills: bool) -> Tensor:
        vocabulary = self._module.config.get_text_config(decoder=True).vocab_size
        dense_BTV = torch.empty(*tokens_BT.shape, vocabulary) if distills else None
        arguments = {"input_ids": tokens_BT, "use_cache": False}
        logits_BTV = torch.func.functional_call(self._module, dict(weights), kwargs=arguments).logits
        if dense_BTV is not None:
            return divergences(dense_BTV, logits_BTV).mean()
        return next_token_losses(logits_BTV, tokens_BT).mean()

    def _tokens(self, batch: int, length: int) -> Tensor:
        return torch.zeros(batch, length, dtype=torch.int64)

    def _measured(self, run: Callable[[], object]) -> DryRunCounts:
        meter, flops = (
            TensorMeter([*self._module.parameters(), *self._module.buffers()]),
            FlopCounterMode(display=False, custom_mapping=_ATTENTION),
        )
        token = counts_repeats.set(meter.repeated)
        try:
            with quiet(), flops, meter:
                run()
        finally:
            counts_repeats.reset(token)
        return DryRunCounts(meter.peak, meter.written, meter.calls, int(flops.get_total_flops()))


def _window_losses(module: nn.Module, tokens_BT: Tensor) -> list[Tensor]:
    logits_BTV = module(input_ids=tokens_BT, use_cache=False).logits
    pairs = zip(logits_BTV, tokens_BT, strict=True)
    return [F.cross_entropy(logits.float(), tokens, reduction="none") for logits, tokens in pairs]
