"""How much of a model a mask covers, as the launch recorded it: at the head of a report and in its provenance."""

from dataclasses import replace

from nmlab.reports.narrative.provenance import provenance_of
from nmlab.reports.report import _facts
from nmlab.trials.contract.training_losses import DIVERGENCE

COVERAGE = "prunes 11.1% of the decoder blocks' matrix weights; left dense: mlp.experts (88.9%, named in ...)"


def _tagged(runs, **tags):
    return replace(runs, launch=replace(runs.launch, tags={**runs.launch.tags, **tags}))


def _provenance(runs):
    return {name: value for section in provenance_of(runs, check=None) for name, value in section.facts}


def test_the_report_says_the_coverage_that_was_recorded(runs):
    tagged = _tagged(runs, **{"nmlab.coverage": COVERAGE, "nmlab.stored": "stored as FP8, dequantised to float32"})
    assert dict(_facts(tagged))["mask"] == COVERAGE.replace("prunes", "2:4 mask on")
    assert dict(_facts(tagged))["weights"] == "stored as FP8, dequantised to float32"
    assert _provenance(tagged)["coverage of the mask"] == COVERAGE


def test_a_whole_coverage_is_not_said_as_a_share_that_is_pruned(runs):
    tagged = _tagged(runs, **{"nmlab.coverage": "prunes 100% of the decoder blocks' matrix weights"})
    assert dict(_facts(tagged))["mask"] == "2:4 mask on all of the decoder blocks' matrix weights"


def test_the_provenance_says_in_how_many_runs_the_train_loss_is_a_divergence(runs):
    first, *others = runs.trials
    distilled = replace(first, settings={**first.settings, "objective": "distill"})
    own = replace(runs, trials=(distilled, *others))
    assert _provenance(own)["train/loss"] == f"{DIVERGENCE}, in 1 of {len(runs.trials)} runs"
    assert "train/loss" not in _provenance(runs)


def test_a_launch_that_recorded_none_is_readable(runs):
    assert not {"mask", "weights"} & dict(_facts(runs)).keys()
    assert _provenance(runs)["coverage of the mask"] == "not recorded"
