"""A run that was walked through from its start to its end, and what it showed on the way."""

from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
from torch import Tensor

from nmlab.trials.measure.cost import Bill
from nmlab.trials.methods.base import Run, TrialContext


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """A run after its last step. All tensors are copies, so what happens to the run later does not change them.

    ``begun`` are its masks before the first step, ``initial`` those that it says it starts from; ``started`` and
    ``ended`` the cost before the first step and after the last; ``saved`` the state after half of the steps, written
    and read again, where it was asked for; ``values`` what each step recorded, ``observed`` what the end shows.
    """

    run: Run
    context: TrialContext
    begun: Mapping[str, Tensor]
    initial: Mapping[str, Tensor] | None
    started: Bill
    ended: Bill
    values: list[dict[str, float]]
    saved: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    observed: Mapping[str, float]


def walk_through(run: Run, context: TrialContext, *, save: bool) -> Walk:
    """Take all steps of a run that was just started; ``save`` its state after half of them."""
    begun, initial, started = copied(run.masks()), run.initial_masks(), context.cost.bill
    half = run.steps // 2
    values = take_steps(run, end=half)
    saved = safetensors.torch.load(safetensors.torch.save(copied(run.state()))) if save else {}
    values += take_steps(run, begin=half)
    return Walk(
        run,
        context,
        begun,
        None if initial is None else copied(initial),
        started,
        context.cost.bill,
        values,
        saved,
        masks=copied(run.masks()),
        weights=copied(run.weights() or {}),
        state=copied(run.state()),
        observed=dict(run.observe()),  # the last, because a run may remember what it has shown
    )


def take_steps(run: Run, *, begin: int = 0, end: int | None = None) -> list[dict[str, float]]:
    """Take some steps of a run, by default all of them; return what each recorded."""
    return [dict(run.step(step)) for step in range(begin, run.steps if end is None else end)]


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors that own their memory."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
