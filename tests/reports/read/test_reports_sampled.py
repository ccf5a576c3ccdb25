"""Losses of masks drawn from the final logits: spreads of masks and minibatches, and what is refused."""

import io

import numpy as np
import pytest

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.maskpro.sampled_losses import sampled_losses
from nmlab.reports.figures import draw_sampled, study_figures
from nmlab.reports.read.collect import collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.evaluations import MaskLosses, read_mask_losses
from nmlab.trials.contract.training_losses import DIVERGENCE


def drawn(*, masks=400, means=(3.0, 3.5), deviation=0.02, agreement=0.9, seed=0):
    """Losses of masks whose quality is shared by the minibatches to a degree."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(masks, 1))
    own = rng.normal(size=(masks, len(means)))
    noise = np.sqrt(agreement) * shared + np.sqrt(1 - agreement) * own
    return np.array(means) + deviation * noise


def kept(loss_KB, run_id="run"):
    return MaskLosses(run_id, loss_KB, loss_KB.mean(axis=0) - 0.01, np.full(loss_KB.shape[1], 2.0))


def test_the_ratio_is_that_of_the_standard_deviations(configuration):
    item = configuration([70.0])
    info = sampled_losses(kept(drawn(), item.run_ids[0]), configurations=[item])
    assert info.label == "maskpro"
    assert info.batch_deviation == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert info.mask_deviation == pytest.approx(0.02, rel=0.1)
    assert info.ratio == pytest.approx(info.batch_deviation / info.mask_deviation)
    assert info.agreement == pytest.approx(0.9, abs=0.03)
    assert [batch.mean for batch in info.batches] == pytest.approx([3.0, 3.5], abs=0.005)
    assert list(info.batches[0].losses) == sorted(info.batches[0].losses)
    figure = draw_sampled(info)
    assert figure.svg.startswith(b"<?xml")
    assert "The worst mask on the easiest minibatch has a lower loss than the best on the hardest." in figure.caption
    assert f"{info.ratio:.3g} times as far" in figure.caption


def test_losses_of_a_run_that_distills_are_called_divergences(configuration):
    item = configuration([70.0], objective="distill")
    figure = draw_sampled(sampled_losses(kept(drawn(), item.run_ids[0]), configurations=[item]))
    assert b"divergence on minibatch 1 (nats a token)" in figure.svg
    assert "a lower divergence than the best on the hardest" in figure.caption
    assert figure.caption.endswith(f" Divergence is {DIVERGENCE}.")


def test_minibatches_that_overlap_are_not_said_to_be_apart(configuration):
    caption = draw_sampled(sampled_losses(kept(drawn(means=(3.0, 3.01))), configurations=[])).caption
    assert "The worst mask" not in caption


def test_masks_that_all_lose_the_same_have_no_spread():
    info = sampled_losses(kept(np.tile([3.0, 3.5], (20, 1))), configurations=[])
    assert (info.ratio, info.agreement) == (float("inf"), 0.0)
    assert draw_sampled(info).svg


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "no run drew masks"),
        (kept(drawn(masks=5)), "5 masks on 2 minibatches do not show a spread"),
        (kept(drawn(means=(3.0,))), "400 masks on 1 minibatches"),
        (kept(np.full((20, 2), np.nan)), "20 masks on 2 minibatches"),
    ],
)
def test_too_little_is_not_drawn(found, reason):
    figure = draw_sampled(sampled_losses(found, configurations=[]))
    assert figure.svg == b""
    assert reason in figure.skipped


@pytest.fixture
def put(writer, tmp_path):
    def log(run_id, **arrays):
        content = io.BytesIO()
        np.savez(content, **arrays)
        path = tmp_path / "mask_losses.npz"
        path.write_bytes(content.getvalue())
        writer.client.log_artifact(run_id, str(path))

    return log


def test_the_best_run_that_drew_masks_is_shown_in_the_report(writer, store, trial, put):
    rows = [
        trial("maskpro", 0, value, 99.0, {"alpha": alpha, "loss_masks": masks}, residual=[0.0])
        for value, alpha, masks in ((60.0, "0.9", "0"), (70.0, "0.95", "400"), (80.0, "0.99", "400"))
    ]
    writer.launch("sampled", rows, name="sampled-1")
    runs = collect(store, study="sampled")
    loss_KB = drawn()
    for run in runs.trials:
        value = run.metric("eval/perplexity")
        if value > 60:
            put(run.run_id, loss_KB=loss_KB + value, initial_loss_B=np.ones(2), dense_loss_B=np.ones(2))
    found = analyse(store, runs=runs)
    assert found.mask_losses.loss_KB == pytest.approx(loss_KB + 70.0)
    (figure,) = [figure for figure in study_figures(found) if figure.key == "sampled_losses"]
    assert figure.svg


def test_a_corrupted_archive_names_run_and_array(writer, store, trial, put):
    writer.launch("sampled-broken", [trial("maskpro", 0, 60.0, 99.0, residual=[0.0])], name="sampled-broken-1")
    run_id = collect(store, study="sampled-broken").trials[0].run_id
    assert read_mask_losses(store, run_id=run_id) is None
    put(run_id, loss_KB=np.ones((3, 2)))
    with pytest.raises(ReportError, match=f"mask_losses.npz of run {run_id} has no array 'initial_loss_B'"):
        read_mask_losses(store, run_id=run_id)
    put(run_id, loss_KB=np.ones((3, 2)), initial_loss_B=np.ones(3), dense_loss_B=np.ones(2))
    with pytest.raises(ReportError, match="do not fit together"):
        read_mask_losses(store, run_id=run_id)
