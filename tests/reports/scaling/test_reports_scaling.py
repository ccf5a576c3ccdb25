"""The scaling aid: its closed forms, its laws on data whose law is known, and what it refuses."""

import json
import math

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nmlab.reports.read.errors import ReportError
from nmlab.reports.scaling import scale
from nmlab.reports.scaling.evidence import ModelSize, Tried, best_place
from nmlab.reports.scaling.flips import deviation_probability, expected_flips, magnitude_of
from nmlab.reports.scaling.law import Prior, fit_law
from nmlab.reports.scaling.proposal import PRIORS, propose
from nmlab.reports.scaling.sizes import groups_of_model
from nmlab.search_spaces import loader

TINY, STEPS = 6656, 2000
patterns = st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


# --- closed forms ---------------------------------------------------------------------------------------------


def test_the_published_probability_of_two_of_four():
    """The paper prints e^2C / ((e^C + 1)(e^C + 2)) for keeping the mask at 2:4; at C = 10, 1.36e-4 deviate."""
    for magnitude in (0.0, 1.0, 4.0):
        kept = math.exp(2 * magnitude) / ((math.exp(magnitude) + 1) * (math.exp(magnitude) + 2))
        assert deviation_probability(magnitude, n=2, m=4) == pytest.approx(1 - kept)
    assert deviation_probability(10.0, n=2, m=4) == pytest.approx(1.36e-4, rel=5e-3)
    assert deviation_probability(40.0, n=2, m=4) == pytest.approx(3 * math.exp(-40.0), rel=1e-9)


@given(patterns, st.floats(0.0, 4.0))
def test_the_probability_is_that_of_drawing_without_replacement(pattern, magnitude):
    n, m = pattern
    weights = [math.exp(magnitude)] * n + [1.0] * (m - n)
    stays = math.prod((n - j) * weights[0] / ((n - j) * weights[0] + (m - n)) for j in range(n))
    assert deviation_probability(magnitude, n=n, m=m) == pytest.approx(1 - stays, abs=1e-12)


def test_a_simulated_group_deviates_as_often_as_stated():
    rng = np.random.default_rng(0)
    logits = np.array([1.5] * 4 + [0.0] * 4)
    keys = logits + rng.gumbel(size=(40_000, 8))
    deviates = (np.sort(np.argsort(-keys, axis=1)[:, :4], axis=1) != np.arange(4)).any(axis=1)
    p = deviation_probability(1.5, n=4, m=8)
    assert deviates.mean() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 40_000))


@given(patterns, st.floats(0.1, 30.0))
def test_the_magnitude_of_so_many_flips_is_found_again(pattern, magnitude):
    n, m = pattern
    flips = expected_flips(magnitude, groups=1e6, n=n, m=m)
    assert magnitude_of(flips, groups=1e6, n=n, m=m) == pytest.approx(magnitude, abs=1e-6)


def test_flips_that_no_magnitude_gives_end_at_the_limits():
    assert magnitude_of(1e9, groups=10, n=2, m=4) == 0.0
    with pytest.raises(ValueError, match="must be positive but got 0"):
        magnitude_of(0.0, groups=10, n=2, m=4)
    with pytest.raises(ValueError, match="got 4:4"):
        deviation_probability(1.0, n=4, m=4)


# --- data whose law is known ----------------------------------------------------------------------------------


def simulated(groups, rng, *, flips, movement, steps=math.log(STEPS), noise=0.01, seeds=3):
    """A size whose loss is a bowl around these coordinates, tried on a grid that stands anywhere around it."""
    centre, share = magnitude_of(math.exp(flips), groups=groups, n=2, m=4), deviation_probability
    tried = []
    for magnitude in centre + rng.uniform(-0.5, 0.5) + np.arange(-2, 3):
        for rate in np.arange(-2, 3) * 1.2 + rng.uniform(-0.6, 0.6):
            p = share(float(magnitude), n=2, m=4)
            own = math.exp(movement + rate) / share(centre, n=2, m=4) / STEPS
            away = (math.log(groups * p) - flips) ** 2 + (math.log(own * p * STEPS) - movement) ** 2
            changes = -0.3 + 0.02 * away + noise * rng.normal(size=seeds)
            tried.append(Tried(float(magnitude), own, round(math.exp(steps)), tuple(changes)))
    return ModelSize("simulated", groups, 2, 4, tuple(tried), ("s",))


def test_the_best_place_of_a_bowl_is_found():
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(20):
        place = best_place(simulated(TINY, rng, flips=5.8, movement=4.6), draws=60)
        errors.append([(place.mean[name] - true) / math.sqrt(place.variance[name]) for name, true in
                       (("flips", 5.8), ("movement", 4.6))])  # fmt: skip
        assert place.at_edge == ()
    assert np.abs(np.mean(errors, axis=0)).max() < 1.0
    assert np.abs(errors).max() < 3.5


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.9])
def test_the_law_of_four_sizes_is_recovered_whatever_the_prior_says(exponent):
    groups = [10**4, 10**5, 10**6, 10**7]
    rng = np.random.default_rng(2)
    means = [5.0 + exponent * math.log(own) + 0.1 * rng.normal() for own in groups]
    law = fit_law(groups, means=means, variances=[0.01] * 4, prior=PRIORS["flips"])
    low, high = law.exponent_interval()
    assert low < exponent < high
    assert law.exponent == pytest.approx(exponent, abs=0.1)
    assert high - low < 0.3


def test_without_a_prior_the_law_is_weighted_least_squares():
    groups, means, variances = [10**3, 10**4, 10**6], [1.0, 2.5, 4.0], [0.1, 0.2, 0.05]
    law = fit_law(groups, means=means, variances=variances, prior=Prior(0.0, 1e6, ""), scatter=0.0)
    slope, level = np.polyfit(np.log(groups), means, 1, w=1 / np.sqrt(np.array(variances) + law.scatter**2))
    assert law.exponent == pytest.approx(slope)
    assert law.level - law.exponent * law.centre == pytest.approx(level)


@pytest.mark.parametrize(
    ("exponent", "sizes"), [(0.5, (TINY,)), (0.1, (TINY, 10**5, 10**6)), (0.8, (TINY, 10**5, 10**6))]
)
def test_prediction_intervals_cover_models_of_the_same_law(exponent, sizes):
    """Each model lies off the law by a scatter of its own, and so does the one that is predicted."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(40):

        def at(groups, rng=rng):
            away = math.log(groups / TINY)
            return 5.8 + exponent * away + 0.3 * rng.normal(), 4.6 + 0.3 * rng.normal()

        places = []
        for groups in sizes:
            flips, movement = at(groups)
            places.append(best_place(simulated(groups, rng, flips=flips, movement=movement), draws=40))
        target = 3 * 10**7
        flips, movement = at(target)
        found = propose(places, groups=target, n=2, m=4)
        magnitude = magnitude_of(math.exp(flips), groups=target, n=2, m=4)
        rate = math.exp(movement) / deviation_probability(magnitude, n=2, m=4) / STEPS
        covered.append(
            [own.low <= value <= own.high for own, value in
             ((found.logit_magnitude, magnitude), (found.learning_rate, rate))]
        )  # fmt: skip
    assert np.mean(covered, axis=0).min() >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 40)


def test_intervals_widen_with_distance_and_narrow_with_sizes():
    rng = np.random.default_rng(4)
    places = [
        best_place(simulated(groups, rng, flips=5.8 + 0.5 * math.log(groups / TINY), movement=4.6), draws=40)
        for groups in (TINY, 10**5, 10**6)
    ]

    def width(own, groups):
        found = propose(own, groups=groups, n=2, m=4).logit_magnitude
        return found.high - found.low

    widths = [width(places, groups) for groups in (10**6, 10**7, 10**9)]
    assert widths == sorted(widths)
    assert width(places[:1], 10**9) > width(places[:2], 10**9) > widths[-1]


def test_random_search_and_pinned_values_are_told_by_their_uncertainty():
    rng = np.random.default_rng(5)
    size = simulated(TINY, rng, flips=5.8, movement=4.6)
    place = best_place(size, draws=40)
    assert math.sqrt(place.variance["steps"]) == pytest.approx(math.log(2.0), rel=0.05)  # one value was tried
    rates = [item for item in size.tried if item.magnitude == size.values("magnitude")[0]]
    with pytest.raises(ValueError, match="three logit magnitudes"):
        best_place(ModelSize("m", TINY, 2, 4, tuple(rates)))
    upper = [item for item in size.tried if item.magnitude >= size.values("magnitude")[2]]
    assert "magnitude" in best_place(ModelSize("m", TINY, 2, 4, tuple(upper)), draws=40).at_edge


def test_the_published_settings_lie_inside_what_the_tiny_model_proposes():
    """A best of C = 4 and learning rate 1 after 2000 steps is what the small studies give."""
    place = best_place(
        simulated(TINY, np.random.default_rng(6), flips=math.log(expected_flips(4.0, groups=TINY, n=2, m=4)),
                  movement=math.log(deviation_probability(4.0, n=2, m=4) * STEPS))
    )  # fmt: skip
    found = propose([place], groups=1_619_001_344, n=2, m=4)
    assert found.published.is_inside
    assert found.published.printed_magnitudes == (10.0,)
    assert found.published.printed_rates == (50.0, 100.0)
    assert found.limits[1] < 10.0 < found.limits[0]
    assert propose([place], groups=10**6, n=4, m=8).published is None


# --- sizes of models ------------------------------------------------------------------------------------------

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}


@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        ({}, 32 * (4 * 4096**2 + 3 * 4096 * 11008)),
        ({"num_key_value_heads": 8}, 32 * (2.5 * 4096**2 + 3 * 4096 * 11008)),
        ({"head_dim": 256, "model_type": "gemma"}, 32 * (4 * 4096 * 8192 + 3 * 4096 * 11008)),
        ({"model_type": "gpt_neox"}, 32 * (4 * 4096**2 + 2 * 4096 * 11008)),
    ],
)
def test_groups_are_counted_from_the_configuration(tmp_path, changes, weights):
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **changes}))
    assert groups_of_model(tmp_path, m=4) == weights // 4


def test_a_nested_configuration_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "some_vision", "text_config": LLAMA}))
    assert groups_of_model(tmp_path, m=4) == 1_619_001_344


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        ("{", "can't be read"),
        ('{"model_type": "mamba"}', "layers of 'mamba' are not known here; give the number with --groups"),
        ('{"model_type": "llama"}', "has no 'hidden_size'"),
        (json.dumps({**LLAMA, "intermediate_size": 11010}), "groups of 4 do not divide a layer of 11010 inputs"),
    ],
)
def test_a_model_whose_groups_cannot_be_counted_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ReportError, match=message):
        groups_of_model(tmp_path, m=4)


# --- from a store ---------------------------------------------------------------------------------------------


def written(writer, trial, name, *, magnitudes, rates, weights=4 * TINY, steps=100, **settings):
    rows = []
    for magnitude in magnitudes:
        for rate in rates:
            loss = 80.0 + 10 * (magnitude - 4) ** 2 + 5 * math.log(rate) ** 2
            params = {"logit_magnitude": str(magnitude), "learning_rate": str(rate), "steps": str(steps), **settings}
            rows += [
                trial("maskpro", seed, loss + seed, 120.0, params, residual=[0.0] * 2,
                      metrics={"cost/trainable_params": float(weights)})
                for seed in range(2)
            ]  # fmt: skip
    writer.launch(name, rows, name=f"{name}-1")


@pytest.fixture(scope="module")
def small(writer, trial):
    """The name of a study of three magnitudes and three rates."""
    written(writer, trial, "scale-small", magnitudes=(3.0, 4.0, 5.0), rates=(0.3, 1.0, 3.0))
    return "scale-small"


def test_studies_become_a_space_that_can_be_pasted(writer, trial, small):
    written(writer, trial, "scale-larger", magnitudes=(3.0, 4.0, 5.0), rates=(0.3, 1.0, 3.0), weights=40 * TINY)
    found = scale([small, "scale-larger"], tracking_uri=writer.uri, groups=10**7)
    assert [place.size.groups for place in found.places] == [TINY, 10 * TINY]
    assert found.places[0].best.magnitude == 4.0
    text = " ".join(found.sentences)
    assert "fitted to 2 sizes" in text
    assert "150 times the groups of the largest one tried. That is far" in text
    study = {
        "name": "pasted",
        "model": {"source": "builtin:tiny"},
        "data": {"calibration": {"source": "builtin:python-docs"}, "evaluation": {"source": "builtin:python-docs"}},
        "pattern": "2:4",
        "method": "maskpro",
        **yaml.safe_load(found.space),
    }
    loaded = loader.loads(yaml.safe_dump(study))
    assert loaded.search.samples == 24
    low, high = yaml.safe_load(found.space)["space"]["logit_magnitude"]["uniform"]
    assert all(low <= point["logit_magnitude"] <= high for point in found.proposal.points)
    assert scale([small, "scale-larger"], tracking_uri=writer.uri, groups=10**7) == found


@pytest.mark.parametrize(
    ("setting", "value", "is_left_out"),
    [
        ("mask_per", "sequence", True),
        ("mask_per", "batch", False),
        ("initial_logits", "saliency", True),
        ("learning_rate_schedule", "linear", True),
        ("learning_rate_schedule", "constant", False),
    ],
)
def test_what_is_not_of_the_papers_form_is_left_out(writer, trial, small, setting, value, is_left_out):
    """A law of the paper's form says nothing about other forms, whose logits move by other amounts."""
    name = f"scale-{setting}-{value}".replace("_", "-")
    written(writer, trial, name, magnitudes=(3.0, 4.0, 5.0), rates=(0.3, 1.0), weights=40 * TINY, **{setting: value})
    found = scale([small, name], tracking_uri=writer.uri, groups=10**7)
    assert len(found.places) == (1 if is_left_out else 2)


def test_one_size_says_what_is_assumed(writer, small):
    text = " ".join(scale([small], tracking_uri=writer.uri, groups=10**7).sentences)
    assert "ASSUMED, since one model size does not determine it" in text
    assert "a second model size would decide" in text
    assert "steps were not varied" in text


@pytest.mark.parametrize(
    ("magnitudes", "rates", "message"),
    [
        ((4.0, 5.0), (1.0, 3.0), r"2 value\(s\) of logit_magnitude .* but needs at least 3.*run: nmlab sweep"),
        ((3.0, 4.0, 5.0), (1.0,), r"1 value\(s\) of learning_rate \(1\) but needs at least 2"),
    ],
)
def test_what_cannot_decide_is_refused_with_what_to_run(writer, trial, magnitudes, rates, message):
    name = f"scale-refused-{len(magnitudes)}-{len(rates)}"
    written(writer, trial, name, magnitudes=magnitudes, rates=rates)
    with pytest.raises(ReportError, match=message):
        scale([name], tracking_uri=writer.uri, groups=10**7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": None}, "either --groups N or --model FOLDER"),
        ({"groups": 0}, "--groups 0: expected a positive"),
        ({"pattern": "4:2"}, "--pattern '4:2': expected \"N:M\""),
    ],
)
def test_a_wrong_option_is_refused(writer, small, options, message):
    with pytest.raises(ReportError, match=message):
        scale([small], tracking_uri=writer.uri, **{"groups": 10**7, **options})


def test_a_study_without_maskpro_is_refused(writer, trial):
    writer.launch("scale-susi", [trial("susi", 0, 60.0, 90.0, residual=[0.0])], name="scale-susi-1")
    with pytest.raises(ReportError, match=r"no finished run of maskpro .* nmlab sweep maskpro-logit-magnitude"):
        scale(["scale-susi"], tracking_uri=writer.uri, groups=10**7)
