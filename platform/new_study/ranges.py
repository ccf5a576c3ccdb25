"""What to search for a method on a model of some size: ranges around what worked at other sizes, with the reason.

MaskPro has the recommended form of docs/methods.md with a walk rate, whose range does not depend on the size. Its
steps, and the raw learning rates named as the alternative, are `nmlab scale`'s: its power laws (`reports/scaling`),
given two sizes, `builtin:tiny` and the paper's LLaMA-2-7B. SUSI and soft_topn have one: a learning rate that falls with
the number of weights as a power between two sizes. From a size on soft_topn starts from the saliency of a rule, with
temperatures that do not dissolve it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nmlab.reports.scaling.evidence import BestPlace, ModelSize, Tried
from nmlab.reports.scaling.flips import deviation_probability
from nmlab.reports.scaling.proposal import PUBLISHED, SpaceProposal, propose
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.logit_config import forecast_rate


@dataclass(frozen=True)
class AdvisedValue:
    """A hyperparameter: its entry in the space as YAML has it, and why, in one line."""

    entry: str
    reason: str


@dataclass(frozen=True)
class Advice:
    """What to try with a method on a model.

    Attributes:
        steps: that a trial takes where the time allows.
        steps_reason: where that number comes from.
        fixed: hyperparameters with one value each.
        space: what is searched.
        first: points that are tried first, each a value of everything that is searched.
        evidence: where the ranges come from, in a few lines.
    """

    steps: int
    steps_reason: str
    fixed: Mapping[str, AdvisedValue]
    space: Mapping[str, AdvisedValue]
    first: tuple[Mapping[str, float], ...] = ()
    evidence: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Worked:
    """Settings of MaskPro that did best at one size, and the factor by which the rate may be off."""

    model: str
    groups: int
    magnitude: float
    learning_rate: float
    steps: int
    factor: float

    def place(self) -> BestPlace:
        """Return it as `nmlab scale` has the best place of a size."""
        share = deviation_probability(self.magnitude, n=2, m=4)
        tried = Tried(self.magnitude, self.learning_rate, self.steps, (0.0,))
        mean = {
            "flips": math.log(self.groups * share),
            "movement": math.log(self.learning_rate * share * self.steps),
            "steps": math.log(self.steps),
        }
        spread = math.log(self.factor) ** 2
        size = ModelSize(self.model, self.groups, 2, 4, (tried,))
        return BestPlace(size, tried, mean, {"flips": spread, "movement": spread, "steps": spread}, ())


_TINY = _Worked("builtin:tiny", 6_656, 4.0, 1.0, 2_000, factor=1.5)
"""docs/reports.md, "From small models to a large one"."""
_LLAMA = _Worked("LLaMA-2-7B", PUBLISHED.groups, 10.0, 70.0, 10_000, factor=1.5)
"""MaskPro, Table 2: learning rates of 50 to 100."""
_WALK, _WALKED = (0.05, 0.3), 0.2
"""Walk rates that were worth trying, and one that is tried first; 0.05 to 0.2 did best, by text and number of steps."""
_SUSI_TINY, _SUSI_QWEN = (26_624, 0.05, 400), (357_826_560, 1e-3, 2_000)
"""Weights, learning rate and steps: of the shipped `quickstart` and `susi-search`, and of SUSI, Table 6 (0.5 B)."""
_SUSI_FACTOR = 5.0
"""Between the ends of the range and its middle: the ends of Table 6, 1e-4 and 1e-3, lie a factor of ten apart."""
_SOFT_TOPN_FACTOR = 4.0
"""0.05 was too low for the small model and too high for the large one, by factors of three and five."""
_SALIENCY_FROM = 1_000_000
"""Prunable weights: a start from saliency changed little at 26 thousand, and decided at a hundred million."""


def advice(method: str, *, weights: int, pattern: Pattern, start: str, sequences: int = 2) -> Advice:
    """Return what to try.

    Args:
        method: ``maskpro``, ``susi`` or ``soft_topn``.
        weights: that a mask covers.
        pattern: N:M.
        start: the initial mask of a method that has one.
        sequences: of the smallest minibatch.
    """
    if method == "maskpro":
        return _maskpro(weights // pattern.m, pattern, start, sequences=sequences)
    return _susi(weights) if method == "susi" else _soft_topn(weights, start)


def _maskpro(groups: int, pattern: Pattern, start: str, *, sequences: int) -> Advice:
    found = propose([_TINY.place(), _LLAMA.place()], groups=groups, n=pattern.n, m=pattern.m)
    steps = max(100, int(float(f"{found.steps.middle:.2g}")))
    reason = f"forecast for {groups:,} groups, between 2,000 of the smallest model tried and 10,000 of the paper"
    rule = AdvisedValue(start, "the learned mask begins at this rule's; it reads the calibration text once")
    low, high = _WALK
    space = {
        "walk_rate": AdvisedValue(
            f"{{loguniform: [{low:g}, {high:g}]}}",
            "how far, in units of C, noise alone moves a logit in a run; 0.05 to 0.2 did best on small models, by text "
            "and number of steps. It sets the learning rate for any number of steps",
        ),
        "logit_magnitude": AdvisedValue(
            "{uniform: [4, 8]}", "C, here a multiplier of log-saliency, whose meaning does not depend on size; 6 worked"
        ),
    }
    return Advice(
        steps,
        reason,
        {"initial_mask": rule, **_form_of_maskpro(sequences)},
        space,
        ({"walk_rate": _WALKED, "logit_magnitude": 6.0},),
        (
            f"Worked: this form with C = 6 and walk rate {_WALKED:g} at 2:4 on two models of some 26 thousand weights.",
            "On one of 0.33 million weights 600 forwards hardly moved anything at any rate that was tried: then more "
            "steps are needed, or a method with gradients.",
            _raw_rates(found),
        ),
    )


def _form_of_maskpro(sequences: int) -> dict[str, AdvisedValue]:
    """Return what is ours in the recommended form; a minibatch of one sequence has one mask in any case."""
    masks = AdvisedValue("sequence", "each sequence of the minibatch has a mask of its own in the same forward; ours")
    return {
        **({"mask_per": masks} if sequences > 1 else {}),
        "initial_logits": AdvisedValue("saliency", "groups that the rule hardly decides are drawn anew often; ours"),
        "learning_rate_schedule": AdvisedValue("linear", "falls to 0 at the last step; ours"),
    }


def _raw_rates(found: SpaceProposal) -> str:
    """Return the paper's form in place of the recommended one, with its ranges here, in a sentence."""
    magnitude, rate = found.searched
    worked = " and ".join(
        f"C = {each.magnitude:g}, learning rate {each.learning_rate:g}, {each.steps:,} steps on {each.model}"
        for each in (_TINY, _LLAMA)
    )
    return (
        "The paper's form instead: leave out walk_rate, mask_per, initial_logits and learning_rate_schedule, and "
        f"search logit_magnitude {{uniform: [{magnitude.low:.2f}, {magnitude.high:.2f}]}} and learning_rate "
        f"{{loguniform: [{rate.low:.3g}, {rate.high:.3g}]}}, the forecast of `nmlab scale` (docs/reports.md) from "
        f"{worked}; for fewer steps than that forecast the rate is larger by as much."
    )


def _susi(weights: int) -> Advice:
    rate, low, high = _between(_susi_forecast(weights, 1), factor=_SUSI_FACTOR)
    return Advice(
        _susi_steps(weights),
        f"forecast for {weights:,} weights, between 400 of the smallest model tried and 2,000 of the paper",
        {},
        {
            "learning_rate": AdvisedValue(
                f"{{loguniform: [{low:.2g}, {high:.2g}]}}",
                f"about {rate:.2g} is between what worked; a factor of {_SUSI_FACTOR:g} either side",
            ),
            "tau_end": AdvisedValue(
                "{loguniform: [0.02, 0.3]}",
                "0.05 is the paper's; a colder end is nearer to a mask, a warmer one learns",
            ),
        },
        (),
        (
            f"Worked at 2:4: learning rate {_SUSI_TINY[1]:g} on builtin:tiny ({_SUSI_TINY[0]:,} weights) and "
            f"{_SUSI_QWEN[1]:g} on Qwen2.5-0.5B ({_SUSI_QWEN[0]:,}; SUSI, Table 6).",
            "Between them a power of the number of weights.",
        ),
    )


def _susi_forecast(weights: int, place: int) -> float:
    """Return the learning rate (place 1) or the steps (2) of SUSI: a power of the weights between two models."""
    share = math.log(weights / _SUSI_TINY[0]) / math.log(_SUSI_QWEN[0] / _SUSI_TINY[0])
    return math.exp((1 - share) * math.log(_SUSI_TINY[place]) + share * math.log(_SUSI_QWEN[place]))


def _susi_steps(weights: int) -> int:
    return max(100, int(float(f"{_susi_forecast(weights, 2):.2g}")))


def _soft_topn(weights: int, start: str) -> Advice:
    rate, low, high = _between(forecast_rate(weights), factor=_SOFT_TOPN_FACTOR)
    return Advice(
        _susi_steps(weights),
        f"those of SUSI, forecast for {weights:,} weights",
        _soft_topn_start(start) if weights >= _SALIENCY_FROM else {},
        {
            "learning_rate": AdvisedValue(
                f"{{loguniform: [{low:.2g}, {high:.2g}]}}",
                f"about {rate:.2g} is between what worked; a factor of {_SOFT_TOPN_FACTOR:g} either side",
            ),
            "lambda_end": AdvisedValue(
                "{loguniform: [0.05, 0.5]}", "0.2 worked; a smaller one is nearer to a mask, a larger one learns longer"
            ),
        },
        (),
        (
            "Worked: learning rate 0.15 from random logits on a model of 26,624 weights at 2:4, 4:8 and 8:16, and 0.01 "
            "from Wanda's saliency on SmolLM2-135M (106,168,320), at 2:4, one run.",
            "It fits a small text too closely: at 26,624 weights 512 sequences of 64 tokens were enough, 128 were not.",
            f"Between them a power of the number of weights; from {_SALIENCY_FROM:,} weights on a saliency, a guess "
            "between the two.",
        ),
    )


def _soft_topn_start(start: str) -> dict[str, AdvisedValue]:
    return {
        "initial_logits": AdvisedValue(
            "saliency", "a large model learns from a good start; temperatures then begin near-hard"
        ),
        "initial_mask": AdvisedValue(start, "the rule whose scores the logits start from; it reads the text once"),
    }


def _between(middle: float, *, factor: float) -> tuple[float, float, float]:
    """Return a value with the two ends of a range around it."""
    return middle, middle / factor, middle * factor
