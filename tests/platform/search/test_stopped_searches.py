"""How often ``search.stop`` stops a search too early: TPE on smooth surfaces with the noise of seeds.

The numbers of docs/guide.md, "Stopping the search", are those of `rates` with 200 searches of each kind.
"""

import math
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import optuna
import pytest

from nmlab.platform.search.no_improvement import EndedConfiguration, without_improvement
from nmlab.platform.search.samplers import sampler_of
from nmlab.search_spaces.schema.sections import Search
from nmlab.trials.contract.log_levels import at_least

SAMPLES, SEEDS, NOISE = 40, 3, 0.01
"""Noise is the standard deviation over seeds of the logarithm of perplexity; the surface spans about 20 %."""
WORTH = 0.01
"""A perplexity that is lower by so much, 1 %, is worth going on for."""


@dataclass(frozen=True)
class Found:
    """A whole search: what it would be without a rule.

    Attributes:
        values: the logarithm of perplexity of each configuration on each seed, in their order.
        true: the same without noise.
    """

    values: tuple[tuple[float, ...], ...]
    true: tuple[float, ...]

    def stops_after(self, patience: int) -> int:
        """Return after how many configurations a rule stops it."""
        ended = [EndedConfiguration("2:4", tuple(map(math.exp, values))) for values in self.values]
        lengths = range(1, len(ended) + 1)
        return next((k for k in lengths if without_improvement(ended[:k], mode="min") >= patience), len(ended))

    def chosen(self, tried: int) -> float:
        """Return the true value of the best by its mean of the first configurations."""
        means = [fmean(values) for values in self.values[:tried]]
        return self.true[means.index(min(means))]


def search(number, *, dimensions):
    """Return a search by TPE for the lowest place of a bowl with a drawn centre."""
    draw = np.random.default_rng(number)
    centre = draw.uniform(0.2, 0.8, dimensions)
    depth = 0.2 / (0.25 * dimensions)
    settings = Search(algorithm="tpe", samples=SAMPLES, seed=number)
    with at_least(40, "optuna"):
        study = optuna.create_study(direction="minimize")
        values, true = [], []
        for trial_number in range(SAMPLES):
            study.sampler = sampler_of(settings, number=trial_number, configurations=SAMPLES)
            trial = study.ask()
            point = np.array([trial.suggest_float(f"x{k}", 0, 1) for k in range(dimensions)])
            true.append(float(3.4 + depth * ((point - centre) ** 2).sum()))
            values.append(tuple(draw.normal(true[-1], NOISE, SEEDS)))
            study.tell(trial, fmean(values[-1]))
    return Found(tuple(values), tuple(true))


def rates(found, *, patience):
    """Return the mean number of configurations, and in how many searches better, and 1 % better, would have come."""
    tried = [each.stops_after(patience) for each in found]
    lost = [each.chosen(count) - min(each.true) for each, count in zip(found, tried, strict=True)]
    more = [each.chosen(count) - each.chosen(SAMPLES) for each, count in zip(found, tried, strict=True)]
    before = [each.true.index(min(each.true)) >= count for each, count in zip(found, tried, strict=True)]
    return {
        "tried": fmean(tried),
        "best not found": fmean(before),
        "1 % lost": fmean(each > WORTH for each in more),
        "mean loss": fmean(more),
        "to the best": fmean(lost),
    }


@pytest.fixture(scope="module")
def found():
    return [search(number, dimensions=2) for number in range(20)]


@pytest.mark.slow
def test_a_patient_rule_saves_configurations_and_rarely_misses_what_is_worth_it(found):
    hasty, patient = rates(found, patience=4), rates(found, patience=12)
    assert hasty["tried"] < patient["tried"] < SAMPLES
    assert patient["1 % lost"] <= 0.2
    assert hasty["1 % lost"] >= patient["1 % lost"]
    assert patient["best not found"] > 0, "the rule has no noise to tell small gains from"


@pytest.mark.slow
def test_a_rule_that_never_applies_changes_nothing(found):
    never = rates(found, patience=SAMPLES)
    assert (never["tried"], never["best not found"], never["mean loss"]) == (SAMPLES, 0, 0)
