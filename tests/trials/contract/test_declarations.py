"""Declarations of metrics, of nmlab's own methods and of those of other packages."""

import sys

import pytest

from nmlab.trials.contract.declarations import common_metric, has_phase, metric_of, recorded_by, rescan
from nmlab.trials.contract.measures import Direction
from nmlab.trials.contract.metrics import COMMON, Metric, Phase, curve_name, initial_name, text_of
from nmlab.trials.methods import registry


@pytest.mark.parametrize(
    ("name", "unit", "direction", "phase"),
    [
        ("eval/perplexity", "perplexity", Direction.LOWER, Phase.EVALUATION),
        ("initial/word_perplexity", "perplexity", Direction.LOWER, Phase.START),
        ("train/loss", "nats", Direction.LOWER, Phase.CURVE),
        ("train/residual", "nats", Direction.LOWER, Phase.CURVE),
        ("train/flips", "groups", Direction.NONE, Phase.CURVE),
        ("train/gradient_norm", "", Direction.NONE, Phase.CURVE),
        ("memory/learning_peak_bytes", "bytes", Direction.LOWER, Phase.END),
        ("time/step_s", "s", Direction.LOWER, Phase.END),
        ("cost/spent_seconds", "s", Direction.LOWER, Phase.END),
        ("eval/quiz/acc_norm", "share", Direction.HIGHER, Phase.END),
        ("eval/gsm8k/exact_match.strict-match", "share", Direction.HIGHER, Phase.END),
        ("eval/quiz/brier_score", "", Direction.LOWER, Phase.END),
        ("eval/wikitext/bits_per_byte", "bits", Direction.LOWER, Phase.END),
        ("eval/blimp/accuracy_of_perplexity", "", Direction.NONE, Phase.END),  # says two things that look known
        ("eval/loss_task/mystery", "", Direction.NONE, Phase.END),
        ("neutral/news/perplexity", "perplexity", Direction.LOWER, Phase.END),
        ("initial/neutral/news/perplexity", "perplexity", Direction.LOWER, Phase.START),
        ("neutral/news/mystery", "", Direction.NONE, Phase.CURVE),
        ("eval/mystery", "", Direction.NONE, Phase.CURVE),
        ("time/of_day", "", Direction.NONE, Phase.CURVE),
        ("memory/perplexity_bytes", "", Direction.NONE, Phase.CURVE),
    ],
)
def test_unit_direction_and_phase_come_from_declarations_and_from_no_part_of_the_name(name, unit, direction, phase):
    metric = metric_of(name)
    assert (metric.unit, metric.direction, metric.phase) == (unit, direction, phase)


def test_common_names_are_declared_once():
    names = [metric.name for metric in COMMON]
    assert len(names) == len(set(names))


def test_only_perplexities_are_compared_as_ratios():
    assert {metric.name.rpartition("/")[2] for metric in COMMON if metric.is_log} == {
        *("perplexity", "token_perplexity", "word_perplexity")
    }
    assert metric_of("eval/wikitext/byte_perplexity").is_log
    assert not metric_of("eval/perplexity_quiz/acc").is_log


@pytest.mark.parametrize(
    ("name", "is_counted"),
    [
        ("cost/tokens", True),
        ("cost/initial_forwards", True),
        ("cost/trainable_params", True),
        ("cost/seconds", False),
        ("cost/spent_tokens", False),
        ("memory/state_bytes", True),
        ("memory/evaluation_activation_bytes", True),
        ("memory/peak_bytes", False),
        ("memory/load_peak_bytes", False),
        ("train/loss", False),
    ],
)
def test_what_is_counted_is_the_same_in_every_run(name, is_counted):
    assert metric_of(name).is_counted is is_counted


def test_the_start_and_the_curve_that_it_begins_have_names_that_follow_from_each_other():
    assert initial_name("eval/token_perplexity") == "initial/token_perplexity"
    assert curve_name("initial/token_perplexity") == "eval/token_perplexity"
    assert curve_name("eval/perplexity") == "eval/perplexity"
    assert curve_name("train/loss") == "train/loss"
    for on_validation in (False, True):
        assert initial_name("neutral/news/perplexity") == "initial/neutral/news/perplexity"
        assert curve_name("initial/neutral/news/perplexity", on_validation=on_validation) == "neutral/news/perplexity"


def test_phases_of_a_point():
    start, between, end = {"initial/perplexity"}, {"eval/perplexity", "train/loss"}, {"eval/perplexity", "cost/tokens"}
    assert [has_phase(point, Phase.EVALUATION) for point in (start, between, end)] == [False, True, True]
    assert [has_phase(point, Phase.END) for point in (start, between, end)] == [False, False, True]
    assert common_metric("train/tau") is None


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that installs a package with a module of metrics and entry points."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))

        def install(source, *, entries):
            info = tmp_path / "nmlab_other-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nmlab-other\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(entries)
            (tmp_path / "other_metrics.py").write_text(source)
            registry.rescan()

        yield install
    sys.modules.pop("other_metrics", None)
    registry.rescan()


HEADER = "from nmlab.trials.contract.measures import Direction\nfrom nmlab.trials.contract.metrics import Metric\n"
ENTRY = "[nmlab.metrics]\nmine = other_metrics:METRICS\n"


def test_a_package_declares_what_its_method_records(package):
    own = "Metric('train/accepted', 'share', Direction.HIGHER)"
    package(f"{HEADER}METRICS = ({own}, Metric('train/loss', 'nats', Direction.LOWER))", entries=ENTRY)
    assert metric_of("train/accepted") == Metric("train/accepted", "share", Direction.HIGHER)
    assert [metric.name for metric in recorded_by("mine")] == ["train/accepted", "train/loss"]
    assert recorded_by("another") is None
    assert recorded_by("wanda") == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("METRICS = 3", "metrics of mine: expected a tuple of Metric, got 3"),
        (
            "METRICS = (Metric('cost/mine'),)",
            r"of mine: 'cost/mine': expected train/\* or time/\* and no common",
        ),
        ("METRICS = (Metric('train/loss', direction=Direction.HIGHER),)", "'train/loss': expected .* and no common"),
        ("METRICS = (Metric('train/flips', 'bits'),)", "'train/flips' is declared differently by another method"),
        ("OTHERS = ()", "metrics of mine cannot be loaded from other_metrics:METRICS"),
        ("import no_such_module", "metrics of mine cannot be loaded from other_metrics:METRICS: No module"),
    ],
)
def test_a_package_that_declares_nonsense_is_named_once_its_metrics_are_asked_for(package, body, message):
    package(HEADER + body, entries=ENTRY)
    assert metric_of("eval/perplexity").unit == "perplexity", "what nmlab declares needs no package"
    with pytest.raises(ValueError, match=message) as refused:
        metric_of("train/of_nobody")
    assert "\n" not in str(refused.value)


def test_an_undeclared_metric_has_a_name_and_nothing_else():
    rescan()
    assert metric_of("train/of_nobody") == Metric("train/of_nobody")
    assert metric_of("train/of_nobody").label == "train of nobody"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("neutral/news/perplexity", "news"),
        ("initial/neutral/news-2/word_perplexity", "news-2"),
        ("neutral/news/acc", ""),
        ("neutral/perplexity", ""),
        ("neutral//perplexity", ""),
        ("neutral/a/b/perplexity", ""),
        ("eval/neutral/perplexity", ""),
    ],
)
def test_perplexities_of_neutral_texts_name_their_text(name, text):
    assert text_of(name) == text
