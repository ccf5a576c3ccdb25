"""How much of a model's decoder blocks a mask covers, as numbers and as a sentence for records and reports."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.models.roles import BlockWeight, Role, fits

_WHY: dict[Role, str] = {
    "selector": "selects experts or tokens",
    "unused": "never used on text",
    "named": "named in model.leave_dense",
}
_BLOCK = re.compile(r"^.*?\.\d+\.")
_SHOWN = 4


@dataclass(frozen=True)
class DenseWeights:
    """A group of weights that stay dense: their name within the blocks, the reason, and the number of elements."""

    name: str
    why: str
    numel: int


@dataclass(frozen=True)
class Coverage:
    """Matrix weights of the decoder blocks: how many are pruned, how many there are, and which stay dense and why.

    ``problem`` is the reason why the use of the weights could not be traced; "" where it was traced.
    """

    pruned: int
    total: int
    dense: tuple[DenseWeights, ...] = ()
    problem: str = ""

    @property
    def share(self) -> float:
        """The pruned part, from 0 to 1."""
        return self.pruned / self.total if self.total else 0.0

    def sentence(self, verb: str = "prunes") -> str:
        """Return one line, such as "prunes 98% of the decoder blocks' matrix weights; left dense: gate (2%, ...)"."""
        text = f"{verb} {percent(self.pruned, self.total)} of the decoder blocks' matrix weights"
        if self.dense:
            text += f"; left dense: {_listed(self.dense, self.total)}"
        if self.problem:
            text += f"; whether it uses all of them on text could not be followed ({self.problem})"
        return text


def coverage_of(weights: Sequence[BlockWeight], *, problem: str = "", architecture: str = "model") -> Coverage:
    """Return the coverage of the weights of the decoder blocks.

    Raises ``SourceError`` for a weight that no mask fits and that is not named in ``leave_dense``, and where no weight
    is pruned.
    """
    total = sum(weight.numel for weight in weights)
    left = _grouped(weight for weight in weights if weight.role != "pruned")
    if unsupported := [weight for weight in weights if weight.role == "unsupported"]:
        prunable = [weight for weight in weights if weight.role == "pruned"]
        names = sorted({_suggested(weight, prunable) for weight in unsupported})
        raise SourceError(_refusal(left, names, total=total, architecture=architecture))
    pruned = sum(weight.numel for weight in weights if weight.role == "pruned")
    if not pruned:
        raise SourceError(f"{architecture}: nothing is left to prune; left dense: {_listed(left, total)}")
    return Coverage(pruned, total, left, problem)


def percent(part: int, whole: int) -> str:
    """Return a share as text; "100%" and "0%" only where it is exactly all or none."""
    if part in (0, whole):
        return "100%" if part else "0%"
    share = 100 * part / whole
    return "<0.1%" if share < 0.05 else ">99.9%" if share > 99.95 else f"{share:.1f}%"


def _refusal(left: Sequence[DenseWeights], names: Sequence[str], *, total: int, architecture: str) -> str:
    stay = sum(group.numel for group in left)
    return (
        f"{architecture}: {percent(stay, total)} of the decoder blocks' matrix weights would stay dense: "
        f"{_listed(left, total)}; only nn.Linear layers of the blocks can be pruned; to leave the others dense, set "
        f"model.leave_dense=[{', '.join(names)}]"
    )


def _suggested(weight: BlockWeight, pruned: Sequence[BlockWeight]) -> str:
    """Return a short name for ``leave_dense`` that fits a weight but none that can be pruned."""
    parts = _inner(weight.names[0]).removesuffix(".weight").split(".")
    end = len(parts) - (
        not weight.names[0].endswith(".weight") and len(parts) > 1
    )  # a module's name covers all of its weights
    runs = [".".join(parts[start:stop]) for stop in (end, len(parts)) for start in range(stop - 1, -1, -1)]
    fitting = (run for run in runs if not any(fits(run, other) for other in pruned))
    return next(fitting, weight.names[0])


def _grouped(weights: Iterable[BlockWeight]) -> tuple[DenseWeights, ...]:
    """Return weights grouped by their name within a block and the reason, the largest group first."""
    sums: dict[tuple[str, str], int] = {}
    for weight in weights:
        key = (_inner(weight.names[0]).removesuffix(".weight"), _WHY.get(weight.role, weight.kind))
        sums[key] = sums.get(key, 0) + weight.numel
    return tuple(
        DenseWeights(name, why, numel) for (name, why), numel in sorted(sums.items(), key=lambda it: (-it[1], it[0]))
    )


def _inner(name: str) -> str:
    """Return a name without its block, with ``*`` for every other number."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", _BLOCK.sub("", name, count=1))


def _listed(groups: Sequence[DenseWeights], total: int) -> str:
    named = [f"{group.name} ({percent(group.numel, total)}, {group.why})" for group in groups[:_SHOWN]]
    more = groups[_SHOWN:]
    rest = [f"{len(more)} more ({percent(sum(group.numel for group in more), total)})"] if more else []
    return ", ".join([*named, *rest])
