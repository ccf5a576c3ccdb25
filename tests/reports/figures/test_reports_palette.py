"""Colours of figures: a contrast that graphics need, and differences that colour-blind readers see."""

from itertools import combinations

import numpy as np
import pytest

from nmlab.reports.figures import DARK, LIGHT
from nmlab.reports.figures.style import LEVELS, LEVELS_ON_DARK

CONTRAST = 3.0
"""WCAG 2.2, 1.4.11: of graphics to what is beside them."""
APART = 20.0
"""In CIELAB (CIE 1976); 2.3 is just noticeable side by side, 10 at a glance."""
VISION = {
    "trichromat": np.eye(3),
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear RGB as seen by: Machado, Oliveira, Fernandes (2009), severity 1."""
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour):
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(XYZ[1] @ linear(colour))


def contrast(first, second):
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def lab(colour, vision):
    seen = np.clip(np.asarray(VISION[vision]) @ linear(colour), 0, 1)
    share = XYZ @ seen / WHITE
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def series(theme):
    return [colour for name, colour in theme.items() if name.startswith("fig-series-")]


def test_the_maths_on_known_colours():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert lab("#ffffff", "trichromat") == pytest.approx([100, 0, 0], abs=0.1)
    red, green = (lab(colour, "deuteranope") for colour in ("#d03030", "#5c7a1e"))
    assert np.linalg.norm(red - green) < np.linalg.norm(lab("#d03030", "trichromat") - lab("#5c7a1e", "trichromat"))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_series_stands_out_from_the_page(theme):
    found = {colour: contrast(colour, theme["fig-paper"]) for colour in [*series(theme), theme["fig-muted"]]}
    assert {colour: ratio for colour, ratio in found.items() if ratio < CONTRAST} == {}
    assert contrast(theme["fig-ink"], theme["fig-paper"]) > 7  # text


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_any_two_series_differ_for_every_reader(theme, vision):
    near = {
        pair: distance
        for pair in combinations(series(theme), 2)
        if (distance := float(np.linalg.norm(lab(pair[0], vision) - lab(pair[1], vision)))) < APART
    }
    assert near == {}


@pytest.mark.parametrize(("levels", "sign"), [(LEVELS, 1), (LEVELS_ON_DARK, -1)], ids=["light", "dark"])
def test_ordered_colours_have_an_order_of_lightness_for_every_reader(levels, sign):
    for vision in VISION:
        steps = sign * np.diff([lab(colour, vision)[0] for colour in levels])
        assert (steps > 0).all(), vision
