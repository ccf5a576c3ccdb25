"""The result by each setting: which settings and methods are shown, what lines join, and how far intervals reach."""

import math

import pytest

from nmlab.reports.analysis.space.sensitivity import sensitivity_of
from nmlab.reports.figures import draw_sensitivity
from nmlab.reports.figures.axes import axis_of
from nmlab.reports.figures.sensitivity import widened
from nmlab.reports.figures.style import plain_number


def test_ticks_are_plain_numbers():
    assert [plain_number(value) for value in (0.05, 200, 5000, 2e4, 5e5, 2e6, 3e9)] == [
        "0.05", "200", "5000", "20k", "500k", "2M", "3G",
    ]  # fmt: skip


def samples(configuration, method, values, **settings):
    """Configurations of one method by number of samples."""
    role = "search" if method == "maskpro" else "baseline"
    return [
        configuration(ends, method=method, role=role, **{"data.calibration.samples": size}, **settings)
        for size, ends in values.items()
    ]


def effects(info):
    return {effect.name: effect for effect in info.settings}


def lines(effect):
    return {line.label: dict(line.means) for line in effect.lines}


# --- methods that share a setting -----------------------------------------------------------------------------


def test_methods_that_share_values_of_a_setting_have_a_line_each(configuration):
    items = [
        *samples(configuration, "maskpro", {1: [90.0, 92.0], 32: [70.0, 71.0], 512: [69.0, 68.0]}, alpha=1),
        *samples(configuration, "maskpro", {1: [99.0, 98.0]}, alpha=2),  # a worse one of the same size
        *samples(configuration, "wanda", {1: [95.0], 512: [80.0]}),
        configuration([100.0], method="magnitude", role="baseline"),
    ]
    info = sensitivity_of(items)
    found = effects(info)
    assert list(found) == ["alpha", "data.calibration.samples"]
    assert lines(found["data.calibration.samples"]) == {
        "maskpro": {1: 91.0, 32: 70.5, 512: 68.5},
        "wanda": {1: 95.0, 512: 80.0},
    }
    assert {point.label for point in found["alpha"].points} == {"maskpro"}
    assert info.labels == ("maskpro", "wanda")
    caption = draw_sensitivity(info).caption
    assert "baselines that share values of a setting with another method" in caption
    assert "95% t-interval" in caption


def test_baselines_that_share_no_values_are_not_shown(configuration):
    searched = samples(configuration, "maskpro", {1: [90.0], 32: [70.0]})
    rules = samples(configuration, "wanda", {1: [95.0], 64: [80.0]})
    info = sensitivity_of([*searched, *rules])
    assert {point.label for effect in info.settings for point in effect.points} == {""}
    assert "baselines" not in draw_sensitivity(info).caption


def test_a_setting_that_only_baselines_vary_is_shown_if_two_share_it(configuration):
    rules = [
        configuration([value], method=method, role="baseline", samples=size)
        for method, size, value in (("wanda", 1, 95.0), ("wanda", 8, 90.0), ("gblm", 1, 94.0), ("gblm", 8, 91.0))
    ]
    info = sensitivity_of([configuration([70.0]), *rules])
    assert lines(effects(info)["samples"]) == {"wanda": {1: 95.0, 8: 90.0}, "gblm": {1: 94.0, 8: 91.0}}


def test_what_lacks_a_seed_is_a_point_and_not_on_a_line(configuration):
    items = [configuration([value, value], alpha=value) for value in (70.0, 80.0)]
    items.append(configuration([60.0, math.inf], alpha=60.0))
    (effect,) = sensitivity_of(items).settings
    assert len(effect.points) == 3
    assert lines(effect) == {"": {70.0: 70.0, 80.0: 80.0}}


# --- searched configurations ----------------------------------------------------------------------------------


def test_every_setting_that_varied_is_shown(configuration):
    items = [
        configuration([value], alpha=alpha, initial_mask=mask)
        for alpha, mask, value in ((0.9, "wanda", 80.0), (0.99, "wanda", 70.0), (0.9, "random", 95.0))
    ]
    info = sensitivity_of(items)
    alpha, mask = info.settings
    assert (alpha.name, lines(alpha)) == ("alpha", {"": {0.9: 80.0, 0.99: 70.0}})
    assert lines(mask) == {}  # text has no order to join
    axis = axis_of([point.value for point in mask.points])
    assert (axis.places, axis.ticks, axis.scale) == ([1.0, 1.0, 0.0], ((0, "random"), (1, "wanda")), "")
    assert info.labels == ("",)
    assert draw_sensitivity(info).png.startswith(b"\x89PNG")


def test_points_of_several_seeds_have_their_interval(configuration):
    items = [configuration([value, value + 2.0], alpha=value) for value in (70.0, 80.0)]
    info = sensitivity_of(items)
    (effect,) = info.settings
    assert [point.mean for point in effect.points] == [item.value for item in items]
    assert "95% t-interval" in draw_sensitivity(info).caption


def test_intervals_widen_a_panel_up_to_a_limit():
    short, long = (14.0, 15.0, 16.0), (-50.0, 20.0, 90.0)
    assert widened((10.0, 20.0), [(8.0, 13.5, 19.0)], is_log=False) == (8.0, 20.0)
    assert widened((10.0, 20.0), [short, short, long], is_log=False) == (-10.0, 40.0)
    assert widened((10.0, 20.0), [], is_log=False) == (10.0, 20.0)
    low, high = widened((10.0, 1000.0), [(-5.0, 498.0, 1001.0), (90.0, 100.0, 110.0)], is_log=True)
    assert (low, high) == (pytest.approx(10 / 100**2), 1001.0)


def test_intervals_that_are_usually_long_are_shown_whole():
    bars = [(5.0, 11.0, 17.0), (13.0, 19.0, 25.0), (-50.0, 15.0, 80.0)]
    assert widened((10.0, 20.0), bars, is_log=False) == (-10.0, 40.0)
    assert widened((10.0, 11.0), bars, is_log=False) == (-2.0, 23.0)


def test_one_setting_alone_has_nothing_beside_it(configuration):
    alone = [configuration([70.0, 71.0], alpha=0.9), configuration([80.0, 81.0], alpha=0.99)]
    assert "Other settings" not in draw_sensitivity(sensitivity_of(alone)).caption
    varied = [
        configuration([70.0, 71.0], alpha=0.9, steps=1),
        configuration([80.0, 81.0], alpha=0.99, steps=2),
    ]
    assert "Other settings vary at the same time" in draw_sensitivity(sensitivity_of(varied)).caption


def test_configurations_that_only_diverged_are_counted_not_drawn(configuration):
    items = [configuration([70.0], alpha=0.9), configuration([80.0], alpha=0.99), configuration([math.inf], alpha=1)]
    assert "Not drawn, without a finished run: 1 configuration." in draw_sensitivity(sensitivity_of(items)).caption


def test_sensitivity_takes_the_best_by_the_studys_direction(configuration):
    items = [configuration([value], mode="max", alpha=0.9, lr=value) for value in (0.3, 0.5)]
    assert list(effects(sensitivity_of(items))) == ["lr"]
    assert lines(effects(sensitivity_of(items))["lr"]) == {"": {0.3: 0.3, 0.5: 0.5}}


def test_a_line_joins_only_what_differs_in_this_setting_alone(configuration):
    items = [configuration([value], alpha=alpha, lr=lr)
             for value, alpha, lr in ((1.0, 0.9, 1), (2.0, 0.99, 1), (5.0, 0.9, 2), (9.0, 0.97, 3))]  # fmt: skip
    alpha, lr = sensitivity_of(items).settings
    assert [line.means for line in alpha.lines] == [((0.9, 1.0), (0.99, 2.0))]
    assert [line.means for line in lr.lines] == [((1, 1.0), (2, 5.0))]


def test_values_that_repeat_have_the_mean_of_their_configurations(configuration):
    items = [configuration([value], alpha=alpha, lr=value)
             for value, alpha in ((1.0, 0.9), (3.0, 0.9), (5.0, 0.99), (9.0, 0.99))]  # fmt: skip
    alpha, lr = sensitivity_of(items).settings
    assert [(own.first, own.last, own.mean.mean, own.mean.n) for own in alpha.marginals] == [
        (0.9, 0.9, 2.0, 2),
        (0.99, 0.99, 7.0, 2),
    ]
    assert (lr.marginals, alpha.lines) == ((), ())
    figure = draw_sensitivity(sensitivity_of(items))
    assert "Thick: the mean over the complete configurations" in figure.caption
    assert "means 0.9 2, 0.99 7" in figure.alternative


def test_many_values_have_means_over_quarters_of_them(configuration):
    items = [configuration([float(n)], lr=n / 100, noise=(7 * n) % 16) for n in range(16)]
    lr = effects(sensitivity_of(items))["lr"]
    assert [(own.first, own.last, own.mean.mean) for own in lr.marginals] == [
        (0.0, 0.03, 1.5),
        (0.04, 0.07, 5.5),
        (0.08, 0.11, 9.5),
        (0.12, 0.15, 13.5),
    ]


def test_an_interval_that_reaches_further_ends_in_an_arrow(configuration):
    near = [configuration([70.0 + n, 70.2 + n], alpha=n) for n in range(4)]
    far = configuration([60.0, 90.0], alpha=9)
    caption = draw_sensitivity(sensitivity_of([*near, far])).caption
    assert "with its 95% t-interval (an arrow: it reaches further)." in caption
    assert "with its 95% t-interval." in draw_sensitivity(sensitivity_of(near)).caption


def test_the_many_values_of_a_search_have_no_line(configuration):
    few, many = ([configuration([50.0 + n], lr=n / 10) for n in range(count)] for count in (6, 7))
    assert [len(sensitivity_of(items).settings[0].lines) for items in (few, many)] == [1, 0]


def test_near_values_stand_at_their_values_and_only_their_texts_are_thinned():
    axis = axis_of([0.82, 0.86, 0.8641, 0.8647])
    assert axis.places == [0.82, 0.86, 0.8641, 0.8647]
    assert axis.ticks == ((0.82, "0.82"), (0.8647, "0.8647"))
    assert axis.marked == (0.82, 0.86, 0.8641, 0.8647)
    assert [text for _, text in axis_of([0.1, 0.2, 0.3]).ticks] == ["0.1", "0.2", "0.3"]
    wide = axis_of([10.0, 100.0, 1000.0])
    assert (wide.scale, wide.places) == ("log scale", [10.0, 100.0, 1000.0])


def test_patterns_have_lines_of_their_own(configuration):
    items = [configuration([value], alpha=value) for value in (70.0, 80.0, 90.0, 95.0)]
    for item in items[2:]:
        object.__setattr__(item, "pattern", "4:8")
    (_, alpha) = sensitivity_of(items).settings
    assert lines(alpha) == {"2:4": {70.0: 70.0, 80.0: 80.0}, "4:8": {90.0: 90.0, 95.0: 95.0}}
    object.__setattr__(items[1], "settings", {"alpha": 80.0, "model.source": "other"})
    info = sensitivity_of(items)
    assert set(lines(effects(info)["alpha"])) == {"4:8"}  # those of 2:4 are not comparable
    assert "A line joins" in draw_sensitivity(info).caption


def test_nothing_varied_means_no_sensitivity(configuration):
    assert sensitivity_of([configuration([1.0], alpha=1)]).skipped.startswith("nothing varied")
    assert draw_sensitivity(sensitivity_of([configuration([1.0], alpha=1)])).svg == b""
