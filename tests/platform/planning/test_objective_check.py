"""A search can aim at what a method of another package records, whether it is declared for it, by it, or not at all."""

import sys

import pytest

from nmlab.platform.planning.checks import check_objectives
from nmlab.search_spaces import loader
from nmlab.trials.methods import registry

SOURCE = """
from nmlab.trials.contract.measures import Direction
from nmlab.trials.contract.metrics import Metric
from nmlab.trials.methods.base import About, Method

class Foreign(Method):
    name = "foreign"
    about = About("One.\\nTwo.", paper="none", cost="none")
    metrics = {metrics}

    def start(self, setting, config):
        raise NotImplementedError

METHOD = Foreign()
"""
DECLARED = "(Metric('train/accepted', 'share', Direction.HIGHER), Metric('time/look_s', 's', Direction.LOWER))"
ENTRIES = "[nmlab.methods]\nforeign = foreign_method:METHOD\n"


@pytest.fixture
def study_with(tmp_path, monkeypatch):
    """Return a function that installs a method with a declaration, and loads a study of it that aims at a metric."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))

        def load(metrics, metric, *, mode="min", entries=ENTRIES):
            info = tmp_path / "nmlab_foreign-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nmlab-foreign\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(entries)
            (tmp_path / "foreign_method.py").write_text(SOURCE.format(metrics=metrics))
            head = "from nmlab.trials.contract.measures import Direction\n"
            light = f"{head}from nmlab.trials.contract.metrics import Metric\nMETRICS = {metrics}\n"
            (tmp_path / "foreign_metrics.py").write_text(light)
            registry.rescan()
            search = f"search={{algorithm: random, samples: 2, metric: {metric}, mode: {mode}}}"
            return loader.load("quickstart", overrides=["method=foreign", search])

        yield load
    for module in ("foreign_method", "foreign_metrics"):
        sys.modules.pop(module, None)
    registry.rescan()


@pytest.mark.parametrize(
    ("metrics", "metric", "mode"),
    [
        (DECLARED, "train/accepted", "max"),
        (DECLARED, "time/look_s", "min"),
        (DECLARED, "train/loss", "min"),
        ("()", "train/whatever_it_calls_it", "max"),
    ],
)
def test_a_method_may_be_searched_on_what_it_records(study_with, metrics, metric, mode):
    study = study_with(metrics, metric, mode=mode)
    check_objectives(study)
    assert study.search.metrics == (metric,)


@pytest.mark.parametrize(
    ("metric", "mode", "message"),
    [
        (
            "train/acepted",
            "max",
            "search.metric 'train/acepted': foreign records no such metric; did you mean 'train/accepted'?",
        ),
        ("train/accepted", "min", "search.mode 'min': train/accepted is better when it is higher; expected max"),
    ],
)
def test_what_a_method_declares_in_its_class_is_checked_once_it_is_loaded(study_with, metric, mode, message):
    study = study_with(DECLARED, metric, mode=mode)
    with pytest.raises(ValueError) as refused:
        check_objectives(study)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("metric", "mode", "message"),
    [
        ("train/acepted", "max", "search.metric 'train/acepted': unknown metric; did you mean 'train/accepted'?"),
        ("train/accepted", "min", "search.mode 'min': train/accepted is better when it is higher; expected max"),
    ],
)
def test_what_is_declared_for_a_method_is_checked_before_anything_is_loaded(study_with, metric, mode, message):
    entries = f"{ENTRIES}[nmlab.metrics]\nforeign = foreign_metrics:METRICS\n"
    with pytest.raises(ValueError) as refused:
        study_with(DECLARED, metric, mode=mode, entries=entries)
    assert str(refused.value).startswith("--set search={algorithm: random")
    assert str(refused.value).endswith(f": {message}")
    assert "foreign_method" not in sys.modules


def test_a_metric_of_no_method_is_refused_for_a_method_from_elsewhere_too(study_with):
    with pytest.raises(ValueError, match=r"search\.metric 'evil/x': unknown metric"):
        study_with(DECLARED, "evil/x")
