"""Choose the engine of a run: the one it names, or the one that suits its pattern, its logits and its device.

The choice depends on the pattern, the logit magnitude, the device and the sizes of the layers that this process holds,
never on timing. Stages of a pipeline make the same one, but for this: one that holds small layers alone takes `linear`
where one with a large layer takes `adaptive`. They draw the same masks for a layer all the same, because `adaptive`
leaves every small layer to `linear` (`AdaptiveEngine._cost`). Kernels are chosen only where they compute on this device
what torch computes, which `triton.selfcheck` checks once a process.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.adaptive import SMALL_LAYER_GROUPS, AdaptiveEngine
from nmlab.trials.engines.engine import Engine
from nmlab.trials.engines.event.engine import EventEngine
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.linear import LinearEngine, Score
from nmlab.trials.engines.logits import LogitStore
from nmlab.trials.engines.reference import ReferenceEngine
from nmlab.trials.engines.triton import TritonEngine, unavailable_reason
from nmlab.trials.masks import deviation

# Returns the fault of the kernels on a device, for a pattern and a kind of store, in a few words, or None.
Check = Callable[[torch.device, Pattern, str], str | None]

ENGINES = ("auto", "reference", "linear", "event", "triton")

# Share of deviating groups above which a GPU updates all groups in order. An estimate: no GPU was measured.
_HOT_ON_GPU = 0.01


def check_kernels(device: torch.device, pattern: Pattern, kind: str) -> str | None:
    """Compare the Triton kernels with torch on a device; see ``triton.selfcheck.kernel_fault``."""
    from nmlab.trials.engines.triton.selfcheck import kernel_fault

    return kernel_fault(device, pattern=pattern, kind=kind)


@dataclass(frozen=True)
class EngineTask:
    """Everything that the choice of an engine depends on; known for a plan as for a run.

    Attributes:
        groups_of_layers: number of groups of every layer.
        magnitude: C, the initial logit of kept weights.
        logits: the kind of store, one of ``LOGIT_STORES``.
        exact: whether the score is the exact one.
    """

    pattern: Pattern
    groups_of_layers: tuple[int, ...]
    device: torch.device
    magnitude: float
    logits: str = "float32"
    sampler: str = "multinomial"
    exact: bool = True


def make_engine(
    name: str,
    *,
    layout: GroupLayout,
    store: LogitStore,
    sampler: str = "multinomial",
    score: Score | None = None,
    check: Check = check_kernels,
    agree: Callable[[bool], bool] = bool,
    note: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Start an engine on the logits in ``store``; ``engine_name`` says which one ``auto`` stands for.

    Raises ``ValueError`` as ``engine_name`` does, and where the engine cannot run on the store's device.
    """
    task = EngineTask(
        pattern=layout.pattern,
        groups_of_layers=tuple(layout.groups_of_layers),
        device=store.device,
        magnitude=store.magnitude,
        logits=store.name,
        sampler=sampler,
        exact=score is None,
    )
    name = engine_name(name, task, check=check, agree=agree, note=note)
    if name == "linear":
        return LinearEngine(layout, store=store, sampler=sampler, score=score)
    return _make_exact(name, layout, store)


def engine_name(
    name: str,
    task: EngineTask,
    *,
    check: Check = check_kernels,
    agree: Callable[[bool], bool] = bool,
    note: Callable[[str], None] = lambda line: None,
) -> str:
    """Return the engine that a run gets for ``name``, one of ``ENGINES``.

    ``auto`` takes the engine that touches the fewest groups: `adaptive` where it can, `triton` on a GPU whose groups
    deviate often, `linear` where the sampler or the score is not the exact one and where all layers are small. Where
    the kernels fail their ``check``, it takes the torch engine that it would take without them, and passes a line to
    ``note``. ``agree`` returns whether any rank of the pipeline group found a fault, given whether this one did.

    Raises ``ValueError`` for an unknown name, and where the engine named cannot do what is asked, with the reason.
    """
    if name not in ENGINES:
        raise ValueError(unknown_name(name, kind="engine", known=ENGINES))
    if name == "auto":
        return auto_engine_name(task, check=check, agree=agree, note=note)
    if name != "linear" and not _is_exact(task):
        asked = f"sampler {task.sampler!r}" if task.sampler != "multinomial" else "another score than the exact one"
        raise ValueError(f"engine {name!r} cannot do {asked}; choose engine 'linear'")
    return name


def _make_exact(name: str, layout: GroupLayout, store: LogitStore) -> Engine:
    if name == "reference":
        return ReferenceEngine(layout, logits_GM=store.read(slice(None)))
    if name == "triton":
        return TritonEngine(layout, store=store)
    return EventEngine(layout, store=store) if name == "event" else AdaptiveEngine(layout, store=store)


def auto_engine_name(
    task: EngineTask,
    *,
    check: Check = check_kernels,
    agree: Callable[[bool], bool] = bool,
    note: Callable[[str], None] = lambda line: None,
) -> str:
    """Return the name of the engine that ``auto`` means; see ``engine_name``."""
    n, m = task.pattern.n, task.pattern.m
    if not _is_exact(task) or n == m:
        return "linear"
    without_kernels = _auto_without_kernels(task)
    if task.device.type != "cuda" or unavailable_reason(task.device) is not None:
        return without_kernels
    if n <= deviation.LARGEST_N and deviating_at_first(task.pattern, task.magnitude) <= _HOT_ON_GPU:
        return without_kernels
    fault = check(task.device, task.pattern, task.logits)
    if not agree(fault is not None):
        return "triton"
    why = f"on {task.device} they fail their check: {fault}" if fault else "they fail their check at another worker"
    note(f"engine auto: {without_kernels} in place of the Triton kernels; {why}")
    return without_kernels


def is_large(groups: int) -> bool:
    """Return whether a layer of ``groups`` groups is large enough for an engine that touches only some of them."""
    return groups >= SMALL_LAYER_GROUPS


def deviating_at_first(pattern: Pattern, magnitude: float) -> float:
    """Return the probability that a group deviates at the start, when it is C on N weights and 0 on the others."""
    kept_1M = torch.arange(pattern.m)[None] < pattern.n
    return float(deviation.probability(kept_1M.float() * magnitude, kept_1M, n=pattern.n))


def _is_exact(task: EngineTask) -> bool:
    return task.sampler == "multinomial" and task.exact


def _auto_without_kernels(task: EngineTask) -> str:
    """Return the engine that suits a task and needs no kernels.

    Where all layers are small it is `linear`, which `adaptive` would use for each of them too: the same draws.
    """
    if task.pattern.n > deviation.LARGEST_N:
        return "linear"
    return "adaptive" if any(map(is_large, task.groups_of_layers)) else "linear"
