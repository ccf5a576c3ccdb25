"""The first screen of a report: verdict, tiles and lines of trust, for every kind of launch, in every format."""

import math
import re

import pytest

from nmlab.reports.values import cell_text
from nmlab.trials.contract import run_tags

FRESH = {run_tags.CONFIRMATION: run_tags.TRUE}
NONE = "no difference that this study could see"


def learned(trial, values, *, seeds=range(3), tags=None, pattern="2:4", **settings):
    """Runs of one configuration of MaskPro; a value of NaN diverged."""
    params = {name: str(value) for name, value in settings.items()}
    kind = {"params": params, "pattern": pattern, "tags": tags or {}, "residual": [0.0]}
    return [
        trial("maskpro", seed, None, status="diverged", **kind)
        if math.isnan(value)
        else trial("maskpro", seed, value, **kind)
        for seed, value in zip(seeds, values, strict=False)
    ]


def rule(trial, method="wanda", value=120.0, **kind):
    return trial(method, 0, value, role="baseline", **kind)


def values(found):
    return [cell_text(cell, column=found.tiles.columns[1]) for cell in found.tiles.column("value")]


def details(found):
    return [cell.value for cell in found.tiles.column("detail")]


def test_a_search_with_confirmation(screen, trial):
    search = [
        *learned(trial, (80.0, 80.2, 79.9), alpha=0.9, rate=1),
        *learned(trial, (82.0, 82.1, 82.3), alpha=0.95, rate=2),
        *learned(trial, (90.0, 90.3, 90.2), alpha=0.99, rate=1),
    ]
    fresh = [
        *learned(trial, (83.0, 83.2, 82.9), seeds=(3, 4, 5), tags=FRESH, alpha=0.9, rate=1),
        *learned(trial, (85.0, 85.4, 85.1), seeds=(3, 4, 5), tags=FRESH, alpha=0.95, rate=2),
    ]
    found = screen("screen-confirmed", [*search, *fresh, rule(trial)])
    assert found.is_decided
    assert found.about == "2:4 masks of builtin:tiny"
    assert found.verdict.startswith(
        "maskpro (perplexity 83.03 ± 0.38, 3 fresh seeds) beats wanda 120.00. This took 16 runs and "
    )
    assert "alpha" not in found.verdict, "settings stand below"
    assert re.match(
        r"Selected, of 3 configurations: alpha=0\.9, rate=1 \(\w+\); ± is half a 95% interval\.$", found.findings[0]
    ), "the verdict has the result"
    baselines, difference, confidence, cost, completeness = found.tiles.rows
    assert baselines.cells[0].value == "The baselines against maskpro: perplexity (lower is better)"
    assert (baselines.cells[1].value, baselines.cells[1].shown) == (1, "maskpro beats wanda")
    assert baselines.cells[2].value == "worse (p < 0.001): wanda (44.52% higher)"
    assert len(baselines.run_ids) == 4
    assert difference.cells[1].value == pytest.approx((85.0 * 85.4 * 85.1 / (83.0 * 83.2 * 82.9)) ** (1 / 3))
    assert difference.cells[1].n == 3
    assert len(difference.run_ids) == 6
    assert difference.cells[2].value.startswith("runner-up: alpha=0.95, rate=2, 85.17 ± ")
    assert confidence.cells[0].value == "Confidence within maskpro: the selected configuration"
    assert confidence.cells[1].shown.startswith("ahead of runner-up (p ")
    among = "configurations of the search among themselves, no baseline: "
    assert f"{among}better than the other finalist; tested over the fresh seeds" in details(found)
    assert len(cost.run_ids) == len(completeness.run_ids) == 16
    assert values(found)[-1] == "all finished"
    assert details(found)[-1] == "6 of them on fresh seeds"
    assert any("text that chose the best is the text that is reported" in line for line in found.trust)


def test_a_grid_of_factors_answers_for_each_factor(screen, trial):
    wobble = {0: 0.0, 1: 0.4, 2: -0.3}
    trials = [
        run
        for alpha, up in ((0.9, 0.0), (0.99, 0.1))
        for rate, far in ((1, 0.0), (2, 20.0))
        for run in learned(
            trial, [80 + far + up * (-1) ** seed + wobble[seed] for seed in range(3)], alpha=alpha, rate=rate
        )
    ]
    found = screen("screen-grid", trials)
    assert re.match(
        r"rate makes a difference: \+2\d\..*% perplexity \(worse\) from 1 to 2\. alpha \(0\.9 to 0\.99\) ",
        found.verdict,
    )
    assert "makes none that this study could see" in found.verdict
    assert found.is_decided
    alpha, rate = found.tiles.rows[:2]
    assert alpha.cells[0].value == "Effect of alpha on perplexity (lower is better)"
    assert alpha.cells[1].low < 1 < alpha.cells[1].high
    assert re.match(r"cannot tell \(p = 0\..*\); over the range tried$", alpha.cells[2].value)
    assert 1.2 < rate.cells[1].low < rate.cells[1].value < 1.3
    assert rate.cells[1].shown.startswith("95% interval +2"), "the verdict has the effect itself"
    assert rate.cells[2].value.startswith("makes a difference (p ")
    assert len(rate.run_ids) == 12


def test_where_nothing_is_separable_it_says_so_and_names_all(screen, trial):
    trials = [
        run
        for place, shift in enumerate((0.0, 0.3, 0.5, 0.2))
        for run in learned(trial, (80.0 + shift, 84.0 - shift, 77.0 + 2 * shift), alpha=0.9 + place / 100)
    ]
    found = screen("screen-equal", trials)
    assert not found.is_decided
    assert found.verdict.startswith(f"Inconclusive: alpha (0.9 to 0.93) makes {NONE}; effects below about ")
    assert found.tiles.rows[0].cells[0].value == "Effect of alpha on perplexity (lower is better)"
    assert details(found)[0].endswith(", the largest contrast"), "the verdict has the range tried"
    assert values(found)[1].startswith("cannot tell (p ")
    assert any(line.startswith("Cannot be told from it: ") and line.count("alpha=") == 3 for line in found.findings)
    missed = re.search(r"below about (\S+) would be missed", found.verdict).group(1)
    assert any(line.startswith("No difference seen does not mean none") for line in found.trust)
    assert missed not in " ".join((*found.trust, *found.findings, *details(found))), "once on the screen"
    assert any("chosen by the numbers that are reported" in line for line in found.trust)


def test_where_nothing_differs_nothing_is_called_selected(screen, trial):
    trials = [
        run
        for place, shift in enumerate((0.0, 0.3, 0.5, 0.2))
        for run in learned(trial, (80.0 + shift, 84.0 - shift, 77.0 + 2 * shift), alpha=0.9 + place / 100)
    ]
    found = screen("screen-unmarked", [*trials, rule(trial)])
    assert "elected" not in found.verdict + " ".join(found.findings)
    assert found.findings[0].startswith("Best mean of 4 configurations, though nothing sets it apart: alpha=")


def test_each_sentence_has_its_own_subject(screen, trial):
    """What is inconclusive of a setting stands apart from what is decided about the method."""
    trials = [
        run
        for alpha, shift in ((0.9, 0.0), (0.97, 0.2))
        for run in learned(trial, (80.0 + shift, 84.0 - shift, 77.0 + 2 * shift), alpha=alpha)
    ]
    found = screen("screen-sentences", [*trials, rule(trial)])
    first, second, third = found.verdict.split(". ")
    assert first.startswith("Inconclusive: alpha (0.9 to 0.97) makes ")
    assert re.match(r"The best maskpro \(perplexity 80\.\d ± .*, 3 seeds\) beats wanda 120\.00$", second)
    assert third.startswith("This took 7 runs and ")


def test_a_range_within_a_small_factor_is_called_too_narrow(screen, trial):
    trials = [
        run
        for rate, shift in ((0.05, 0.0), (0.055, 0.3), (0.06, 0.1))
        for run in learned(trial, (80.0 + shift, 84.0 - shift, 77.0 + 2 * shift), learning_rate=rate)
    ]
    found = screen("screen-narrow", trials)
    assert found.verdict.startswith(
        "Inconclusive: the range tried of learning_rate, 0.05 to 0.06 (a factor of 1.2), is too narrow to answer; no "
        "difference was seen, and effects below about "
    )
    assert not found.is_decided
    assert details(found)[0].endswith("; too narrow a range to answer")


def test_a_baseline_that_cannot_be_told_from_the_best_is_neither_beaten_nor_better(screen, trial):
    found = screen("screen-beside", [*learned(trial, (80.0, 84.0, 77.0)), rule(trial, value=80.5)])
    assert values(found)[0] == "maskpro cannot be told from wanda"
    assert details(found)[0] == "cannot tell (p = 0.924): wanda (about the same)", "0.2% beside 12%"


def test_one_value_of_a_setting_on_fresh_seeds_is_said(screen, trial):
    search = [
        run
        for rate, alpha, mean in ((1, 0.99, 80.0), (2, 0.99, 82.0), (3, 0.9, 90.0), (4, 0.95, 95.0))
        for run in learned(trial, (mean, mean + 1, mean - 1.5), rate=rate, alpha=alpha)
    ]
    fresh = [
        run
        for rate, mean in ((1, 83.0), (2, 83.4))
        for run in learned(trial, (mean, mean + 1, mean - 1), seeds=(3, 4, 5), tags=FRESH, rate=rate, alpha=0.99)
    ]
    found = screen("screen-shared", [*search, *fresh])
    shared = "both rerun on fresh seeds have alpha=0.99"
    said = [text for text in (*found.findings, *details(found)) if shared in text.casefold()]
    assert len(said) == 1


def test_a_single_configuration_is_compared_with_the_best_baseline(screen, trial):
    found = screen("screen-single", [*learned(trial, (80.0, 81.0, 79.0)), rule(trial), rule(trial, "magnitude", 140.0)])
    assert found.verdict.startswith(
        "maskpro (perplexity 80.0 ± 2.5, 3 seeds) beats wanda 120.00 and magnitude 140.00. "
    )
    assert [row.cells[0].value for row in found.tiles.rows[:3]] == [
        "The baselines against maskpro: perplexity (lower is better)",
        "Best baseline against maskpro: perplexity (lower is better)",
        "Confidence: maskpro and the best baseline",
    ]
    assert values(found)[0] == "maskpro beats all 2"
    assert values(found)[2].startswith("ahead of best baseline (p ")
    assert values(found)[1].startswith("+50.")
    assert details(found)[2].startswith("better than the best baseline")


def test_a_launch_that_was_stopped_says_what_is_missing(screen, trial):
    trials = [*learned(trial, (80.0, 80.2), alpha=0.9), *learned(trial, (90.0,), alpha=0.99)]
    found = screen("screen-stopped", trials, tags={"nmlab.status": "stopped", "nmlab.planned": "6"})
    assert " 3 of 6 runs and " in found.verdict
    assert values(found)[3] == "3 finished, 3 not begun"
    assert found.trust[0].startswith("The launch is stopped, not finished")


def test_where_all_diverged_the_baseline_stands(screen, trial):
    found = screen("screen-lost", [*learned(trial, (math.nan,) * 3, alpha=0.9), rule(trial)])
    assert found.verdict.startswith("No searched configuration has a result; the best baseline is wanda (perplexity ")
    assert not found.is_decided
    assert values(found)[0] == "–"
    assert any(line.startswith("3 diverged of 4 runs") for line in found.trust)
    nothing = screen("screen-nothing", [trial("dense", 0, 40.0, role="baseline")])
    assert nothing.verdict.startswith("No result: no mask that finished has a value")


def test_several_objectives_are_said(screen, trial):
    params = {"search.metric": "['eval/perplexity', 'cost/seconds']", "search.mode": "['min', 'min']"}
    trials = [*learned(trial, (80.0, 80.2, 79.9), alpha=0.9), *learned(trial, (90.0, 90.5, 90.1), alpha=0.99)]
    found = screen("screen-several", trials, params=params)
    assert " All this is by perplexity, the first of 2 objectives. " in found.verdict


def test_a_study_of_claims_counts_them(screen, trial):
    trials = [*learned(trial, (80.0, 80.2, 79.9), alpha=0.99), *learned(trial, (90.0, 90.5, 90.1), alpha=0.9)]
    found = screen("screen-claims", trials, tags={"nmlab.reproduces": "maskpro/table-10"})
    assert re.match(r"Of \d+ claims? of the papers: ", found.claims)


def test_several_patterns_have_a_verdict_each(screen, trial):
    trials = [
        run
        for pattern, shift in (("2:4", 0.0), ("4:8", -20.0))
        for alpha, far in ((0.9, 0.0), (0.99, 10.0))
        for run in learned(
            trial, (80 + far + shift, 80.2 + far + shift, 79.9 + far + shift), alpha=alpha, pattern=pattern
        )
    ]
    found = screen("screen-patterns", trials)
    assert found.verdict.startswith("2:4: maskpro wins (perplexity 80.03")
    assert " 4:8: maskpro wins (perplexity 60.03" in found.verdict
    assert found.findings[0].startswith("Selected: 2:4 alpha=0.9 (")
    assert values(found)[0] == "2 of 2"


def test_a_baseline_that_is_better_is_named_and_takes_the_green_away(screen, trial):
    search = [
        *learned(trial, (80.0, 80.2, 79.9), alpha=0.9, rate=1, steps=10, size=1),
        *learned(trial, (90.0, 90.1, 90.3), alpha=0.95, rate=2, steps=20, size=2),
    ]
    rules = [
        rule(trial),
        rule(trial, "magnitude", 140.0),
        rule(trial, "sparsegpt_mask", 60.0),
        trial("dense", 0, 20.0, role="baseline"),
    ]
    found = screen("screen-beaten", [*search, *rules], params={"answers": "Does it beat magnitude?"})
    assert re.match(
        r"maskpro \(perplexity 80\.\d+ ± .*, 3 seeds\) beats magnitude 140\.00 and wanda 120\.00, and is worse than "
        r"sparsegpt_mask 60\.00\. This took 10 runs and ",
        found.verdict,
    )
    assert not found.is_decided
    against, gap = found.tiles.rows[0], found.tiles.rows[3]
    assert re.match(
        r"worse \(p < 0\.001\): magnitude \(74\.\d+% higher\) and wanda \(.* higher\); "
        r"better \(p < 0\.001\): sparsegpt_mask \(.* lower\); p corrected after Holm$",
        against.cells[2].value,
    )
    assert against.cells[1].shown == "maskpro beats 2 of 3"
    assert gap.cells[0].value == "Best maskpro against dense: perplexity (lower is better)"
    assert gap.cells[1].shown == "4 times as high"
    assert gap.cells[1].value == pytest.approx(80.1 / 20 - 0.01 / 3, rel=1e-3)
    assert gap.cells[2].value == "the model without a mask has 20.00"
    assert len(gap.run_ids) == 4


def test_a_runner_up_with_the_better_reported_mean_is_said_and_no_lead_is_claimed(screen, trial):
    def on_both(values, validation, **settings):
        return [
            trial("maskpro", seed, value, validation=chosen, params={k: str(v) for k, v in settings.items()})
            for seed, (value, chosen) in enumerate(zip(values, validation, strict=True))
        ]

    trials = [
        *on_both((80.0, 84.0, 79.0), (70.0, 74.0, 69.0), alpha=0.9),
        *on_both((79.9, 83.5, 79.1), (71.0, 75.0, 70.0), alpha=0.95),
    ]
    params = {"data.validation.source": "builtin:python-docs", "search.metric": "validation/perplexity"}
    found = screen("screen-behind", trials, params=params)
    (line,) = [line for line in found.trust if "Selected on validation text" in line]
    assert re.search(r"the runner-up has .*% lower perplexity, within noise\.$", line)
    assert not any("lead" in line for line in found.trust)


@pytest.mark.parametrize("direction", ["min", "max"])
def test_which_way_is_better_stands_beside_every_difference(screen, trial, direction):
    params = {"search.metric": "eval/perplexity", "search.mode": direction}
    found = screen(f"screen-{direction}", [*learned(trial, (80.0, 80.2, 79.9)), rule(trial)], params=params)
    word = "lower is better" if direction == "min" else "higher is better"
    differences = [row for row in found.tiles.rows if "perplexity" in row.cells[0].value]
    assert len(differences) == 2
    assert all(row.cells[0].value.endswith(f"perplexity ({word})") for row in differences)


def test_no_tile_answers_with_a_bare_yes(screen, trial):
    """A "yes" beside a p-value is taken for the verdict on the method, whatever the tile is about."""
    near, far = (80.0, 80.2, 79.9), (90.0, 90.3, 90.2)
    one = [*learned(trial, near, alpha=0.9), *learned(trial, far, alpha=0.99), rule(trial)]
    many = [
        run
        for place, means in enumerate((near, far))
        for run in learned(trial, means, a=place, b=place, c=place, d=place)
    ]
    for name, trials in (("one", one), ("many", many), ("single", [*learned(trial, near), rule(trial)])):
        found = screen(f"screen-plain-{name}", trials)
        texts = [*values(found), *details(found)]
        assert not [text for text in texts if re.search(r"\b(yes|no) \(p ", text)]


def test_the_numbers_of_the_verdict_stand_once_on_the_screen(screen, trial):
    search = [
        *learned(trial, (80.0, 80.25, 79.75), alpha=0.9, rate=1, steps=10, size=1),
        *learned(trial, (90.0, 90.2, 90.3), alpha=0.95, rate=2, steps=20, size=2),
        *learned(trial, (math.nan, 97.2, 97.3), alpha=0.97, rate=3, steps=30, size=3),
    ]
    found = screen("screen-once", [*search, rule(trial, value=123.45), trial("dense", 0, 23.5, role="baseline")])
    numbers = set(re.findall(r"\d+\.\d+", found.verdict))
    assert {"80.00", "123.45"} <= numbers
    elsewhere = " ".join((*found.findings, *values(found), *details(found), *found.trust))
    assert numbers.isdisjoint(re.findall(r"\d+\.\d+", elsewhere))


@pytest.mark.parametrize(("better", "is_lead"), [(79.0, True), (81.0, False)])
def test_luck_in_a_lead_is_said_only_where_there_is_one(screen, trial, better, is_lead):
    def on_both(values, **settings):
        return [
            trial("maskpro", seed, value, validation=value - 10, params={k: str(v) for k, v in settings.items()})
            for seed, value in enumerate(values)
        ]

    spread = (0.0, 0.3, -0.2) if is_lead else (0.0, 4.0, -3.0)
    trials = [
        *on_both([better - 1 + up for up in spread], alpha=0.9),
        *on_both([better + (9 if is_lead else 0) + up * 1.1 for up in spread[::-1]], alpha=0.95),
    ]
    params = {"data.validation.source": "builtin:python-docs", "search.metric": "validation/perplexity"}
    found = screen(f"screen-luck-{is_lead}", trials, params=params)
    (line,) = [line for line in found.trust if "chosen by the seeds that are reported" in line]
    assert ("lead" in line) is is_lead
