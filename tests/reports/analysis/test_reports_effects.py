"""The effect of each setting of a study: over seeds, over configurations, and where some were stopped early."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from measured import as_curves

from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.analysis.space.effects import Basis, setting_effects
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.tables.effects import effects_table

METRIC = "eval/perplexity"


def run(key, seed, value, **settings):
    status = "finished" if value is not None else "pruned"
    return TrialRecord(
        run_id=f"{key}-{seed}",
        trial_key=f"{key}-{seed}",
        configuration=key,
        role="search",
        method="maskpro",
        pattern="2:4",
        seed=seed,
        status=status,
        depends_on_seed="true",
        settings=settings,
        metrics={} if value is None else {METRIC: value},
    )


def items(trials):
    return configurations_of(
        SimpleNamespace(trials=trials, objective=Objective(METRIC, "min"), fresh_seeds=0, expected={})
    )


def grid(*, effect=1.0, noise=0.001):
    """A grid of two settings, of which the second multiplies the result."""
    draw = np.random.default_rng(3)
    return [
        run(f"{alpha}-{rate}", seed, 80 * effect**rate * float(np.exp(noise * draw.normal())), alpha=alpha, rate=rate)
        for alpha, rate, seed in product((0.9, 0.95, 0.99), (1, 2), range(3))
    ]


def test_of_a_whole_grid_seeds_are_the_replicates():
    (found,) = setting_effects(items(grid(effect=1.1)), progress={})
    assert (found.basis, found.seeds, found.step) == (Basis.SEEDS, 3, None)
    alpha, rate = found.tests
    assert (alpha.name, alpha.is_seen, alpha.is_largest) == ("alpha", False, True)
    assert (rate.name, rate.lower, rate.upper, rate.is_seen, rate.is_largest) == ("rate", 1, 2, True, False)
    assert found.stated(rate).difference == pytest.approx(1.1, abs=0.002)
    table = effects_table([found])
    assert [cell.value for cell in table.column("verdict")] == [
        "no difference that this study could see",
        "makes a difference",
    ]
    assert all(len(row.run_ids) == 18 for row in table.rows)


def test_an_effect_goes_from_the_smaller_number_to_the_larger():
    (found,) = setting_effects(items(grid(effect=0.9)), progress={})
    rate = found.tests[1]
    assert (rate.lower, rate.upper) == (1, 2)
    assert found.stated(rate).difference == pytest.approx(0.9, abs=0.002)


def test_of_values_that_a_search_proposed_configurations_are_the_replicates():
    draw = np.random.default_rng(4)
    rates = draw.uniform(1, 3, size=9)
    trials = [
        run(f"c{place}", seed, 80 * float(np.exp(0.2 * rate + 0.01 * draw.normal())), rate=float(rate))
        for place, rate in enumerate(rates)
        for seed in range(2)
    ]
    (found,) = setting_effects(items(trials), progress={})
    (rate,) = found.tests
    assert found.basis is Basis.CONFIGURATIONS
    assert (rate.lower, rate.upper) == (min(rates), max(rates))
    assert rate.is_seen


def test_too_few_configurations_for_their_settings_are_not_tested():
    tried = zip((0.9, 0.95, 0.99), (1, 2, 3), strict=True)
    trials = [
        run(f"c{rate}", seed, 80.0 + rate + seed, alpha=alpha, rate=rate) for alpha, rate in tried for seed in (0, 1)
    ]
    (few,) = setting_effects(items(trials), progress={})
    assert few.tests == ()
    assert effects_table([few]).notes == (
        "Not tested for maskpro: 3 configurations are too few to tell 2 settings apart.",
    )


def test_what_was_stopped_early_counts_at_the_last_step_that_all_reached():
    trials, points = [], []
    for place in range(8):
        is_stopped = place % 2 == 1
        for seed in range(2):
            trials.append(run(f"c{place}", seed, None if is_stopped else 50.0, rate=float(place)))
            last = 20 if is_stopped else 40
            points += [
                {"run_id": f"c{place}-{seed}", "step": step, "value": 100.0 + place + 0.1 * (-1) ** (place * seed)}
                for step in range(0, last + 1, 10)
            ]
    (found,) = setting_effects(items(trials), progress=as_curves(points))
    assert (found.step, len(found.items)) == (20, 8)
    assert found.tests[0].is_seen
    assert any(
        "at step 20, the last at which each of them was evaluated" in note for note in effects_table([found]).notes
    )


def test_a_search_without_varying_settings_has_no_effects():
    assert setting_effects(items([run("c", seed, 80.0 + seed, rate=1) for seed in range(3)]), progress={}) == ()
    fixed = [run(f"c{rate}", seed, 80.0 + rate, rate=rate) for rate in (1, 2) for seed in range(3)]
    (found,) = setting_effects(items(fixed), progress={})
    assert found.tests[0].p_adjusted is None
    assert effects_table([found]).rows[0].cells[-1].value == "not tested: nothing varies by chance"
