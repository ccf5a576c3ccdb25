"""AdamW for a run's own tensors, with a state of named tensors for checkpoints."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from nmlab.trials.contract.errors import DivergedError

NormOf = Callable[[Sequence[Tensor]], float]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class AdamW:
    """torch's AdamW on named float32 tensors; only they get gradients, which are freed after each step."""

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        betas: tuple[float, float],
        weight_decay: float,
        epsilon: float = 1e-8,
        clip_norm: float = math.inf,
    ) -> None:
        self.parameters = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
        self._clip_norm = clip_norm
        self._optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=0.0, betas=betas, weight_decay=weight_decay, eps=epsilon
        )
        for name, tensor in self.parameters.items():
            self._optimizer.state[tensor] = {moment: self._zero(moment, name) for moment in _MOMENTS}

    def descend(self, loss: Tensor, *, rate: float, norm_of: NormOf | None = None) -> float:
        """Move every tensor one step against the gradient of ``loss``; return the gradient's norm before clipping.

        ``norm_of`` returns the norm of all gradients, including those of other pipeline stages; by default there are no
        others. Raises ``DivergedError`` where the gradient is not finite; the tensors then stay as they were.
        """
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        norm = norm_of(gradients) if norm_of is not None else float(get_total_norm(gradients))
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient has the norm {norm}")
        clip_grads_with_norm_(self.parameters.values(), self._clip_norm, torch.tensor(norm, dtype=torch.float32))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return the tensors by name, and the two moments and the step count of each, as they are held."""
        values = {f"parameter/{name}": tensor.detach() for name, tensor in self.parameters.items()}
        held = self._optimizer.state
        moments = {f"{key}/{name}": held[p][key] for name, p in self.parameters.items() for key in _MOMENTS}
        return {**values, **moments}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what ``state`` returned; the tensors are changed in place."""
        for name, tensor in self.parameters.items():
            tensor.copy_(state[f"parameter/{name}"])
            for moment in _MOMENTS:  # in place: no second set of moments beside the first
                self._optimizer.state[tensor][moment].copy_(state[f"{moment}/{name}"])

    def _zero(self, moment: str, name: str) -> Tensor:
        return torch.tensor(0.0) if moment == "step" else torch.zeros_like(self.parameters[name].detach())
