"""The account of a trial as metrics: cost and times, and memory."""

from nmlab.trials.measure.cost import Cost
from nmlab.trials.measure.memory import peak_bytes
from nmlab.trials.methods.base import Run
from nmlab.trials.models import MaskedModel
from nmlab.trials.trial.footprint import Footprint


def cost_metrics(cost: Cost, *, steps: int, has_step: bool) -> dict[str, float]:
    """Return cost and times after ``steps`` steps; times are left out of a run that has not taken its first step."""
    return {
        name: value for name, value in cost.metrics(steps=steps).items() if has_step or not name.startswith("time/")
    }


def memory_metrics(model: MaskedModel, run: Run, footprint: Footprint) -> dict[str, float]:
    """Return peaks and bytes by kind; all ranks of a pipeline group must call this, and get the same values."""
    pipeline = model.pipeline
    phases = footprint.metrics(pipeline=pipeline)  # before the overall peak, so that this is not lower
    return {
        "memory/peak_bytes": float(max(pipeline.all_gather(peak_bytes(model.frozen.device)))),
        "memory/state_bytes": float(pipeline.all_reduce_count(run.state_bytes)),
        "memory/masked_weight_bytes": float(pipeline.all_reduce_count(model.bytes)),
        "memory/weight_bytes": float(pipeline.all_reduce_count(model.frozen.bytes)),
        **phases,
    }
