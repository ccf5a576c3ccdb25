"""The values of the figures by setting before they are drawn: methods side by side, sensitivity."""

import math

import pytest

from nmlab.reports.figures import by_setting_info, draw_by_setting, draw_sensitivity, sensitivity_info
from nmlab.reports.figures.sensitivity import widened
from nmlab.reports.figures.style import plain_number


def test_ticks_are_plain_numbers():
    assert [plain_number(value) for value in (0.05, 200, 5000, 2e4, 5e5, 2e6, 3e9)] == [
        "0.05", "200", "5000", "20k", "500k", "2M", "3G",
    ]  # fmt: skip


# --- methods by a setting -------------------------------------------------------------------------------------


def samples(configuration, method, values, **settings):
    """Configurations of one method by number of samples."""
    role = "search" if method == "maskpro" else "baseline"
    return [
        configuration(ends, method=method, role=role, **{"data.calibration.samples": size}, **settings)
        for size, ends in values.items()
    ]


def test_methods_that_share_values_of_a_setting_have_a_line_each(configuration):
    items = [
        *samples(configuration, "maskpro", {1: [90.0, 92.0], 32: [70.0, 71.0], 512: [69.0, 68.0]}, alpha=1),
        *samples(configuration, "maskpro", {1: [99.0, 98.0]}, alpha=2),  # a worse one of the same size
        *samples(configuration, "wanda", {1: [95.0], 512: [80.0]}),
        configuration([100.0], method="magnitude", role="baseline"),
    ]
    info = by_setting_info(items)
    (panel,) = info.panels
    assert (panel.name, panel.scale, info.methods) == ("data.calibration.samples", "log scale", ("maskpro", "wanda"))
    ours, rule = panel.lines
    assert (ours.places, [value.mean for value in ours.values]) == ((1.0, 32.0, 512.0), [91.0, 70.5, 68.5])
    assert (rule.places, [value.mean for value in rule.values]) == ((1.0, 512.0), [95.0, 80.0])
    assert "95% t-interval" in draw_by_setting(info).caption


def test_a_setting_of_one_method_or_with_no_shared_values_has_no_panel(configuration):
    drawn = [configuration([60.0], method=method, lr=lr) for method, lr in (("maskpro", 0.1), ("maskpro", 0.2),
                                                                            ("susi", 0.3), ("susi", 0.4))]  # fmt: skip
    alone = samples(configuration, "maskpro", {1: [90.0], 32: [70.0]})
    info = by_setting_info([*drawn, *alone])
    assert info.skipped == "no two methods share two values of a setting"
    assert draw_by_setting(info).svg == b""


# --- sensitivity ----------------------------------------------------------------------------------------------


def test_sensitivity_has_a_panel_for_each_setting_that_varied(configuration):
    items = [
        configuration([value], alpha=alpha, initial_mask=mask)
        for alpha, mask, value in ((0.9, "wanda", 80.0), (0.99, "wanda", 70.0), (0.9, "random", 95.0))
    ]
    info = sensitivity_info(items)
    alpha, mask = info.panels
    assert (alpha.name, alpha.best, alpha.ticks) == (
        "alpha",
        ((0.9, 80.0), (0.99, 70.0)),
        ((0.9, "0.9"), (0.99, "0.99")),
    )
    assert (mask.ticks, mask.best) == (((0, "random"), (1, "wanda")), ((0.0, 95.0), (1.0, 70.0)))
    assert info.labels == ("",)
    assert draw_sensitivity(info).png.startswith(b"\x89PNG")


def test_points_of_several_seeds_have_their_interval(configuration):
    items = [configuration([value, value + 2.0], alpha=value) for value in (70.0, 80.0)]
    info = sensitivity_info(items)
    (panel,) = info.panels
    assert [(point.low, point.high) for point in panel.points] == [(item.value.low, item.value.high) for item in items]
    assert "95% t-interval" in draw_sensitivity(info).caption


def test_intervals_widen_a_panel_up_to_a_limit():
    short, long = (14.0, 15.0, 16.0), (-50.0, 20.0, 90.0)
    assert widened((10.0, 20.0), [(8.0, 13.5, 19.0)], is_log=False) == (8.0, 20.0)
    assert widened((10.0, 20.0), [short, short, long], is_log=False) == (6.0, 24.0)
    assert widened((10.0, 20.0), [], is_log=False) == (10.0, 20.0)
    low, high = widened((10.0, 1000.0), [(-5.0, 498.0, 1001.0), (90.0, 100.0, 110.0)], is_log=True)
    assert (low, high) == (pytest.approx(10 / 100**0.4), 1001.0)


def test_intervals_that_are_usually_long_are_shown_whole():
    bars = [(5.0, 11.0, 17.0), (13.0, 19.0, 25.0), (-50.0, 15.0, 80.0)]
    assert widened((10.0, 20.0), bars, is_log=False) == (4.0, 26.0)


def test_one_setting_alone_has_nothing_beside_it(configuration):
    alone = [configuration([70.0, 71.0], alpha=0.9), configuration([80.0, 81.0], alpha=0.99)]
    assert "Other settings" not in draw_sensitivity(sensitivity_info(alone)).caption
    varied = [
        configuration([70.0, 71.0], alpha=0.9, steps=1),
        configuration([80.0, 81.0], alpha=0.99, steps=2),
    ]
    assert "Other settings vary at the same time" in draw_sensitivity(sensitivity_info(varied)).caption


def test_configurations_that_only_diverged_are_counted_not_drawn(configuration):
    items = [configuration([70.0], alpha=0.9), configuration([80.0], alpha=0.99), configuration([math.inf], alpha=1)]
    assert "Not drawn, without a finished run: 1 configuration." in draw_sensitivity(sensitivity_info(items)).caption


def test_sensitivity_takes_the_best_by_the_studys_direction(configuration):
    items = [configuration([value], mode="max", alpha=0.9, lr=value) for value in (0.3, 0.5)]
    panels = {panel.name: panel for panel in sensitivity_info(items).panels}
    assert list(panels) == ["lr"]
    same = [configuration([value], mode="max", alpha=alpha, lr=value)
            for value, alpha in ((0.3, 0.9), (0.5, 0.9), (0.4, 0.5))]  # fmt: skip
    panels = {panel.name: panel for panel in sensitivity_info(same).panels}
    assert panels["alpha"].best == ((0.5, 0.4), (0.9, 0.5))


def test_values_too_close_for_their_ticks_stand_in_even_steps(configuration):
    items = [
        configuration([value], alpha=alpha, lr=10.0**value) for value, alpha in ((1.0, 0.9), (2.0, 0.99), (3.0, 0.995))
    ]
    alpha, rate = sensitivity_info(items).panels
    assert alpha.scale == "even steps"
    assert alpha.ticks == ((0.0, "0.9"), (1.0, "0.99"), (2.0, "0.995"))
    assert [point.place for point in alpha.points] == [0.0, 1.0, 2.0]
    assert (rate.scale, [point.place for point in rate.points]) == ("log scale", [10.0, 100.0, 1000.0])


def test_there_is_no_best_over_several_patterns(configuration):
    items = [configuration([value], alpha=value) for value in (70.0, 80.0)]
    object.__setattr__(items[1], "pattern", "4:8")
    info = sensitivity_info(items)
    assert [panel.best for panel in info.panels] == [(), ()]
    assert "the line joins" not in draw_sensitivity(info).caption


def test_nothing_varied_means_no_sensitivity(configuration):
    assert sensitivity_info([configuration([1.0], alpha=1)]).skipped.startswith("nothing varied")
    assert draw_sensitivity(sensitivity_info([configuration([1.0], alpha=1)])).svg == b""
