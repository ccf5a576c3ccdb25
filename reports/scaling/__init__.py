"""Scaling MaskPro from small models to a large one: its best magnitude, learning rate and steps by number of groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import open_store
from nmlab.reports.scaling.evidence import BestPlace, best_place
from nmlab.reports.scaling.observed import sizes_of
from nmlab.reports.scaling.proposal import SpaceProposal, propose, space_yaml
from nmlab.reports.scaling.sizes import groups_of_model
from nmlab.reports.scaling.words import sentences
from nmlab.trials.contract.pattern import Pattern, expected_pattern

__all__ = ["Scaled", "scale"]


@dataclass(frozen=True, slots=True)
class Scaled:
    """The evidence by model size, the proposal, the proposal as part of a study in YAML, and sentences on both."""

    places: tuple[BestPlace, ...]
    proposal: SpaceProposal
    space: str
    sentences: tuple[str, ...]


def scale(
    studies: Sequence[str],
    *,
    tracking_uri: str,
    groups: int | None = None,
    model: Path | None = None,
    pattern: str | None = None,
) -> Scaled:
    """Propose a search space of MaskPro for a larger model from studies of smaller ones.

    Args:
        studies: names of studies, each with ``@launch`` where not the newest launch is meant.
        tracking_uri: the MLflow store to read.
        groups: groups of the larger model.
        model: the Hugging Face folder of the larger model, instead of ``groups``.
        pattern: of the larger model; by default the pattern of the studies, if they have only one.

    Raises:
        ReportError: neither or both of groups and model, an unknown study, too few settings tried, or a model whose
            groups can't be counted.
    """
    if (groups is None) == (model is None):
        raise ReportError("say how large the model is: either --groups N or --model FOLDER")
    if groups is not None and groups < 1:
        raise ReportError(f"--groups {groups}: expected a positive number of groups")
    sizes = sizes_of(open_store(tracking_uri), studies=studies)
    n, m = _pattern(pattern, sorted({(size.n, size.m) for size in sizes}))
    target = groups if groups is not None else groups_of_model(model or Path(), m=m)
    places = tuple(best_place(size) for size in sizes)
    proposal = propose(places, groups=target, n=n, m=m)
    return Scaled(places, proposal, space_yaml(proposal), sentences(places, proposal))


def _pattern(text: str | None, tried: Sequence[tuple[int, int]]) -> tuple[int, int]:
    shown = ", ".join(f"{n}:{m}" for n, m in tried)
    if text is None:
        if len(tried) > 1:
            raise ReportError(f"the studies ran several patterns ({shown}); choose one with --pattern")
        return tried[0]
    try:
        pattern = Pattern.parse(text)
    except ValueError:
        raise ReportError(f"--pattern {text!r}: {expected_pattern(text)}") from None
    if pattern.n == pattern.m:
        raise ReportError(f"--pattern {text!r}: expected N below M, such as {shown.split(',')[0]}")
    return pattern.n, pattern.m
