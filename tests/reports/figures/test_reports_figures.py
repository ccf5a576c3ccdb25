"""Figures: the values before the drawing, and drawings that depend on nothing else."""

import re

import matplotlib
import numpy as np
import pytest
from measured import as_curves
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from nmlab.reports.analysis.configurations import configurations_of, searched
from nmlab.reports.analysis.maskpro.residuals import residuals_of
from nmlab.reports.analysis.space.importance import distribution, importance_of
from nmlab.reports.figures import (
    DARK,
    LIGHT,
    draw_importance,
    draw_parallel,
    draw_ranking,
    draw_residual,
    parallel_coordinates,
    ranking_of,
    study_figures,
)
from nmlab.reports.figures.parallel import ConfigurationLine, setting_axis, shown_lines
from nmlab.reports.read.collect import collect


def curve(run_id, values, *, first=1):
    steps = range(first, first + len(values))
    return as_curves(
        [{"run_id": run_id, "step": step, "value": value} for step, value in zip(steps, values, strict=True)]
    )


def together(parts):
    return {run_id: one for part in parts for run_id, one in part.items()}


@pytest.fixture
def swept(configuration):
    """Sixteen configurations in which learning_rate decides everything and noise nothing."""
    rates = np.geomspace(0.01, 10.0, 16)
    values = [50.0 + 10.0 * abs(np.log(rate)) for rate in rates]
    items = [
        configuration([value, value + 1.0], learning_rate=float(rate), noise=float((7 * i) % 16), mask="ab"[i % 2])
        for i, (rate, value) in enumerate(zip(rates, values, strict=True))
    ]
    return sorted(items, key=lambda item: item.value.mean)


def test_residuals_are_averaged_within_bins_then_over_seeds(configuration):
    item = configuration([70.0, 72.0])
    first, second = item.run_ids
    data = curve(first, [0.0] * 50 + [-1.0] * 50) | curve(second, [0.0] * 50 + [-3.0] * 50)
    info = residuals_of([item], curves=data)
    (drawn,) = info.curves
    assert len(drawn.steps) == 20
    assert info.steps_per_bin == 5.0
    assert drawn.mean == (0.0,) * 10 + (-2.0,) * 10
    assert (drawn.low[-1], drawn.high[-1], drawn.seeds) == (-3.0, -1.0, 2)
    assert drawn.steps[0] == pytest.approx(3.0)


def test_few_points_are_drawn_as_they_are(configuration):
    item = configuration([70.0])
    (drawn,) = residuals_of([item], curves=curve(item.run_ids[0], [0.0, -1.0, -2.0])).curves
    assert drawn.mean == (0.0, -1.0, -2.0)
    assert drawn.steps == pytest.approx((1.0, 2.0, 3.0))


def test_one_short_run_does_not_coarsen_the_others(configuration):
    items = [configuration([70.0], alpha=a) for a in (1, 2, 3)]
    lengths = dict(zip([item.run_ids[0] for item in items], (200, 200, 2), strict=True))
    info = residuals_of(items, curves=together(curve(run, [-1.0] * n) for run, n in lengths.items()))
    assert [len(drawn.steps) for drawn in info.curves] == [40, 40, 1]


def test_seeds_that_did_not_finish_draw_nothing(configuration):
    item = configuration([70.0, float("nan")])
    data = together(curve(run, [value] * 10) for run, value in zip(item.run_ids, (-1.0, 99.0), strict=True))
    (drawn,) = residuals_of([item], curves=data).curves
    assert drawn.seeds == 1
    assert max(drawn.high) == -1.0


@pytest.mark.parametrize(
    ("objectives", "noun"),
    [(["next_token"], "loss"), (["distill"], "divergence"), (["distill", "next_token"], "loss or divergence")],
)
def test_residuals_say_what_they_are_of(configuration, objectives, noun):
    items = [configuration([70.0], objective=objective) for objective in objectives]
    data = together(curve(item.run_ids[0], [0.0, -1.0, -2.0]) for item in items)
    figure = draw_residual(residuals_of(items, curves=data))
    assert f"{noun} residual  f(mask)".encode() in figure.svg
    assert f"the sampled masks have a lower {noun} than" in figure.caption
    assert ("KL(dense || masked)" in figure.caption) == ("distill" in objectives)


def test_no_residual_is_a_stated_reason(configuration):
    figure = draw_residual(residuals_of([configuration([70.0])], curves=curve("other", [1.0])))
    assert figure.skipped == "no finished run recorded train/residual"
    assert figure.svg == b""


def test_the_best_of_each_method_is_named_first(configuration):
    items = [configuration([float(v)], alpha=v) for v in range(60, 66)] + [configuration([90.0], method="susi")]
    data = together(curve(item.run_ids[0], [0.0, -1.0]) for item in items)
    info = residuals_of(items, curves=data)
    assert [drawn.label for drawn in info.curves[:2]] == ["maskpro: alpha=60", "susi"]
    assert info.named == 4
    assert len(info.curves) == 7


def test_ranking_of_the_small_study(configurations):
    info = ranking_of(configurations)
    assert [point.label for point in info.points] == ["0.7", "0.9", "0.95", "0.99", "0.995"]
    assert [point.mean for point in info.points] == [129.0, 95.0, 85.0, 80.0, 100.0]
    assert [point.is_complete for point in info.points] == [False, False, True, True, True]
    assert info.points[3].initial == 120.0
    assert [(line.name, line.value) for line in info.lines] == [("dense", 40.0), ("wanda", 120.0), ("magnitude", 140.0)]
    assert info.is_log is False


def test_ranking_shows_the_best_and_counts_the_rest(swept):
    info = ranking_of(swept, shown=5)
    assert [point.key for point in info.points] == [item.key for item in swept[:5]]
    assert info.hidden == 11
    assert "In the tables only: 11 further configurations." in draw_ranking(info).caption


def on_fresh_seeds(writer, store, trial, *, name):
    """Three configurations with two settings each; validation text prefers b, evaluation a. Two ran again."""
    again = {"nmlab.confirmation": "true"}
    trials = [
        trial("maskpro", seed, value + seed, validation=chosen + seed, params={"alpha": alpha, "size": size}, **kind)
        for alpha, size, chosen, value, fresh in (
            ("0.9", "1", 70.0, 84.0, 82.0),
            ("0.8", "2", 71.0, 83.0, 81.0),
            ("0.7", "3", 72.0, 80.0, None),
            ("0.6", "4", 73.0, 79.0, None),
        )
        for value, seeds, kind in ((value, (0, 1), {}), (fresh, (2, 3), {"tags": again}))
        if value is not None
        for seed in seeds
    ]
    params = {"data.validation.source": "builtin:python-docs", "search.metric": "validation/perplexity"}
    writer.launch(name, trials, name=f"{name}-1", params=params)
    return configurations_of(collect(store, study=name))


def test_ranking_is_in_the_order_of_what_is_plotted(writer, store, trial):
    """Rows on fresh seeds come first by their fresh means, then the others by the mean of the search."""
    found = on_fresh_seeds(writer, store, trial, name="plotted")
    info = ranking_of(found, selected={found[0].key})
    assert [point.label for point in info.points] == ["0.8 · 2", "0.9 · 1", "0.6 · 4", "0.7 · 3"]
    assert [point.shown for point in info.points] == [83.5, 84.5, 79.5, 80.5]
    assert [point.is_selected for point in info.points] == [False, True, False, False]
    drawn = draw_ranking(info)
    assert drawn.caption.startswith("Best plotted mean at the top, those on fresh seeds first: ")
    assert "▸ was selected, by the validation text, which is not plotted." in drawn.caption
    unmarked = draw_ranking(ranking_of(found)).caption
    assert "▸" not in unmarked
    assert "The search chooses by the validation text, which is not plotted." in unmarked


def test_reference_lines_are_next_to_their_own_pattern(writer, store, trial):
    trials = [trial("dense", 0, 40.0, role="baseline")]
    for pattern, value in (("2:4", 90.0), ("4:8", 70.0)):
        trials.append(trial("wanda", 0, value, role="baseline", pattern=pattern))
        trials.append(trial("maskpro", 0, value - 10, value, residual=[0.0], pattern=pattern))
    writer.launch("beside", trials, name="beside-1")
    lines = ranking_of(configurations_of(collect(store, study="beside"))).lines
    assert [(line.name, line.value, line.first, line.last) for line in lines] == [
        ("dense", 40.0, 0, 1),
        ("wanda", 90.0, 0, 0),
        ("wanda", 70.0, 1, 1),
    ]


def test_importance_finds_what_decides(swept):
    info = importance_of(swept)
    first, *others = info.shares
    assert first.name == "learning_rate"
    assert first.low > max(share.value for share in others)
    assert sum(share.value for share in info.shares) == pytest.approx(1.0)
    assert (info.configurations, info.resamples, info.log_scaled) == (16, 100, ("learning_rate",))
    assert info.quantile == pytest.approx(5 / 16)


def test_of_very_many_configurations_fewer_resamples_do_and_the_caption_counts_them(swept, monkeypatch):
    place = "nmlab.reports.analysis.space.importance.MOST_FITTED"
    monkeypatch.setattr(place, 30 * len(swept))
    assert "over 30 resamples" in draw_importance(importance_of(swept)).caption
    monkeypatch.setattr(place, 1)
    assert importance_of(swept).resamples == 20


def test_importance_has_a_range(configuration):
    random = np.random.default_rng(3)
    items = [
        configuration([float(random.normal())], left=float(random.uniform()), right=float(random.uniform()))
        for _ in range(8)
    ]
    left, right = importance_of(items).shares
    assert all(share.low <= share.value <= share.high for share in (left, right))
    assert max(share.high - share.low for share in (left, right)) > 0.2


def test_resamples_of_equally_good_configurations_warn_nobody(configuration, recwarn):
    items = [configuration([1.0 + (i > 5)], left=0.1 * i, right=0.1 * (8 - i)) for i in range(8)]
    assert importance_of(items).resamples == 100
    assert [str(warning.message) for warning in recwarn] == []


def test_importance_respects_the_direction(configuration):
    def study(mode):
        return [
            configuration([float(i)], mode=mode, decides=float(i), noise=float((7 * i) % 16), flag="ab"[i > 11])
            for i in range(16)
        ]

    low, high = importance_of(study("min")), importance_of(study("max"))
    assert low.shares[0].name == high.shares[0].name == "decides"
    flags = [next(share.value for share in info.shares if share.name == "flag") for info in (low, high)]
    assert flags[1] > flags[0]


def test_conditional_settings_have_an_importance(configuration):
    items = [configuration([50.0 + i], alpha=0.5 + i / 50, steps=100 + i) for i in range(6)]
    items += [configuration([80.0 + i], method="susi", tau_end=0.01 * (i + 1), steps=100 + i) for i in range(6)]
    info = importance_of(items)
    assert {share.name for share in info.shares} == {"method", "alpha", "tau_end", "steps"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ([{"alpha": 0.1 * i} for i in range(10)], "only alpha varied"),
        ([{"alpha": 0.1}], "nothing varied"),
        ([{"alpha": 0.1 * i, "steps": i} for i in range(7)], "7 configurations have a finished run"),
    ],
)
def test_importance_is_skipped_with_the_reason(configuration, settings, reason):
    info = importance_of([configuration([float(i)], **values) for i, values in enumerate(settings)])
    assert info.skipped.startswith(reason)
    assert draw_importance(info).skipped == info.skipped


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 5, None], IntDistribution(1, 5)),
        ([0.5, 1.5], FloatDistribution(0.5, 1.5)),
        ([0.01, 10.0], FloatDistribution(0.01, 10.0, log=True)),
        ([0.0, 10.0], FloatDistribution(0.0, 10.0)),
        ([0.9, 0.99, 0.9, 0.99], CategoricalDistribution([0.9, 0.99])),
        ([0.9, 0.95, 0.99, 0.995], FloatDistribution(0.9, 0.995)),
        (["wanda", "random"], CategoricalDistribution(["random", "wanda"])),
    ],
)
def test_distributions(values, expected):
    assert distribution(values) == expected


def test_text_stands_in_even_order_on_an_axis():
    axis, places = setting_axis("mask", values=["wanda", "random", "wanda"])
    assert axis.ticks == ((0.25, "random"), (0.75, "wanda"))
    assert places == [0.75, 0.25, 0.75]


def test_numbers_stand_by_value_and_on_a_log_scale_where_they_spread():
    axis, places = setting_axis("alpha", values=[0.0, 5.0, 10.0])
    assert (places, axis.scale) == ([0.0, 0.5, 1.0], "")
    axis, places = setting_axis("rate", values=[0.01, 0.1, 1.0])
    assert (places, axis.scale) == (pytest.approx([0.0, 0.5, 1.0]), "log")


def test_ticks_that_would_lie_on_each_other_are_left_out_and_places_stay_true():
    axis, places = setting_axis("alpha", values=[0.7, 0.99, 0.995])
    assert (places, axis.scale) == ([0.0, pytest.approx(0.983, abs=1e-3), 1.0], "")
    assert [text for _, text in axis.ticks] == ["0.7", "0.995"]


def test_many_numbers_have_round_ticks_within_their_range():
    axis, _ = setting_axis("C", values=[3.07, 4.4, 5.1, 6.2, 7.3, 8.4, 8.89])
    labels = [float(text) for _, text in axis.ticks]
    assert labels == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert all(0.0 <= place <= 1.0 for place, _ in axis.ticks)


def test_a_setting_that_is_not_used_lies_below_the_axis():
    axis, places = setting_axis("alpha", values=[0.5, None, 0.9])
    assert axis.ticks[0] == (-0.1, "not used")
    assert places == [0.0, -0.1, 1.0]


@pytest.mark.parametrize(("mode", "best"), [("min", 0), ("max", 2)])
def test_the_best_is_at_the_top_and_a_loser_has_no_quality(configuration, mode, best):
    values = [10.0, 20.0, 30.0, float("nan")]
    items = [configuration([value], mode=mode, alpha=float(i)) for i, value in enumerate(values)]
    info = parallel_coordinates(items)
    by_key = {line.key: line for line in info.lines}
    assert by_key[items[best].key].quality == 0.0
    assert by_key[items[best].key].places[-1] == 1.0
    assert by_key[items[1].key].quality == pytest.approx(0.5)
    assert by_key[items[3].key].quality is None
    assert info.without_value == 1
    assert info.axes[-1].name == "perplexity"
    places = {text: place for place, text in info.axes[-1].ticks}
    assert (places["10"], places["30"]) == ((1.0, 0.0) if mode == "min" else (0.0, 1.0))


def test_parallel_coordinates_need_two_configurations(configuration):
    assert (
        parallel_coordinates([configuration([1.0], alpha=1.0)]).skipped == "nothing varied between the configurations"
    )


def test_drawings_are_the_same_bytes_every_time(document, analysis, swept):
    first = [*document.figures, draw_importance(importance_of(swept))]
    again = [*study_figures(analysis), draw_importance(importance_of(swept))]
    drawings = [[(figure.svg, figure.png, figure.pdf) for figure in figures] for figures in (first, again)]
    assert drawings[0] == drawings[1]


def test_drawings_hold_no_date_and_no_maker(swept):
    figure = draw_parallel(parallel_coordinates(swept))
    assert figure.svg.startswith(b"<?xml")
    assert figure.png.startswith(b"\x89PNG")
    assert figure.pdf.startswith(b"%PDF")
    for trace in (b"dc:date", b"Matplotlib v", b"Creation Time", b"Software", b"CreationDate", b"/Producer"):
        assert trace not in figure.svg + figure.png + figure.pdf


def test_every_colour_drawn_is_one_that_the_page_can_swap(document, swept):
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)
    figures = [*document.figures, draw_parallel(parallel_coordinates(swept))]
    drawn = {colour for figure in figures for colour in re.findall(r"#[0-9a-f]{6}\b", figure.svg.decode())}
    assert drawn
    assert drawn <= set(LIGHT.values())


def test_drawing_leaves_the_readers_matplotlib_alone(configurations):
    before = dict(matplotlib.rcParams)
    draw_ranking(ranking_of(searched(configurations)))
    assert dict(matplotlib.rcParams) == before


def test_of_very_many_lines_the_best_and_some_of_the_others_are_drawn():
    lines = [ConfigurationLine(str(place), (0.5,), place / 1000) for place in range(1000)]
    shown = shown_lines(lines, most=90)
    assert shown[:30] == lines[:30]
    assert 60 <= len(shown) <= 90
    assert shown[-1].quality > 0.95
    assert shown_lines(lines[:90], most=90) == lines[:90]
