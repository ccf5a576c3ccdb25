"""Masks read without torch, their overlap, and the figures of it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.masks.layers import layer_change, layer_changes
from nmlab.reports.analysis.masks.overlaps import corners_of, overlap, overlaps_of
from nmlab.reports.figures import draw_layers, draw_overlap, draw_pictures
from nmlab.reports.figures.overlaps import percent
from nmlab.reports.read.collect import collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.masks import PackedMask, parse_masks, read_masks
from nmlab.trials.contract.pattern import Pattern

SHAPES = {"model.layers.0.self_attn.q_proj": (8, 16), "model.layers.0.mlp.up_proj": (16, 8)}


def random_mask(shape, n, m, *, seed):
    rng = np.random.default_rng(seed)
    order = rng.random((shape[0] * shape[1] // m, m)).argsort(axis=1)
    return (order < n).reshape(shape)


def bundle(masks, pattern="2:4", **header):
    packed = {name: np.packbits(mask.reshape(-1), bitorder="little") for name, mask in masks.items()}
    own = {
        "format": "nmlab-mask/1",
        "info": json.dumps({"pattern": pattern, "method": "susi"}),
        "shapes": json.dumps({name: list(mask.shape) for name, mask in masks.items()}),
    }
    return save(packed, metadata={**own, **header})


def masks_of(n=2, m=4, *, seed=0):
    return {name: random_mask(shape, n, m, seed=seed + k) for k, (name, shape) in enumerate(SHAPES.items())}


def packed(mask, n=2, m=4):
    return PackedMask(np.packbits(mask.reshape(-1), bitorder="little"), mask.shape, n, m)


def test_what_was_packed_is_read():
    masks = masks_of()
    found = parse_masks(bundle(masks), run_id="r")
    assert {name: own.shape for name, own in found.items()} == SHAPES
    for name, mask in masks.items():
        assert np.array_equal(found[name].unpacked(), mask)
        assert np.array_equal(found[name].corner(3), mask[:3, :3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a bundle", "is corrupted"),
        (bundle(masks_of())[:-5], "is corrupted"),
        (bundle(masks_of(), format="other"), "is not a mask bundle"),
        (bundle(masks_of(), pattern="1:4"), r"keeps 2 of group 0, expected 1 of 4"),
        (bundle(masks_of(), shapes=json.dumps({name: [4, 4] for name in SHAPES})), "does not fit its shape"),
        (bundle(masks_of(), info="{}"), "is corrupted"),
    ],
)
def test_a_damaged_file_names_its_run(content, message):
    with pytest.raises(ReportError, match=message) as caught:
        parse_masks(content, run_id="abc")
    assert "run abc" in str(caught.value)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_overlap_and_change_are_counted_entry_by_entry(first, second):
    one = {name: packed(mask) for name, mask in masks_of(seed=first).items()}
    other = {name: packed(mask) for name, mask in masks_of(seed=second).items()}
    equal = sum(int((one[name].unpacked() == other[name].unpacked()).sum()) for name in one)
    assert overlap(one, second=other) == pytest.approx(equal / sum(mask.entries for mask in one.values()))
    assert overlap(one, second=other) == overlap(other, second=one)
    for name, share in layer_change(one, start=other).items():
        new = one[name].unpacked() & ~other[name].unpacked()
        assert share == pytest.approx(new.sum() / one[name].unpacked().sum())


def test_masks_of_other_layers_or_patterns_have_no_overlap():
    one = {name: packed(mask) for name, mask in masks_of().items()}
    other = {name: packed(mask, 2, 8) for name, mask in masks_of(2, 8).items()}
    assert overlap(one, second=other) is None
    assert overlap(one, second={"x": packed(random_mask((4, 4), 2, 4, seed=0))}) is None
    assert layer_change(one, start=other) is None
    assert overlap(one, second=one) == 1.0


@pytest.mark.parametrize(("n", "m", "expected"), [(2, 4, 0.5), (2, 8, 0.625), (4, 8, 0.5), (1, 4, 0.625)])
def test_chance_is_what_random_masks_reach(n, m, expected):
    assert Pattern(n, m).chance_overlap == expected
    first, second = (random_mask((400, 64), n, m, seed=seed) for seed in (1, 2))
    assert (first == second).mean() == pytest.approx(expected, abs=0.02)


@pytest.fixture(scope="module")
def masked(writer, store, tmp_path_factory, trial):
    """Two methods with masks, one of which started from a mask that was kept."""
    tags = {"nmlab.initial_mask_digest": "d1"}
    trials = [trial("wanda", 0, 90.0, role="baseline")]
    trials += [trial("susi", seed, 50.0 + seed, 99.0, residual=[0.0], tags=tags) for seed in range(2)]
    parent = writer.launch("masked", trials, name="masked-1")
    runs = collect(store, study="masked")
    folder = tmp_path_factory.mktemp("masks")

    def keep(run_id, seed):
        (folder / "mask.safetensors").write_bytes(bundle(masks_of(seed=seed)))
        writer.client.log_artifact(run_id, str(folder / "mask.safetensors"))

    for place, run in enumerate(sorted(runs.trials, key=lambda trial: trial.method)):
        keep(run.run_id, 10 * place)
    start = writer.client.create_run(runs.experiment_id, tags={"mlflow.parentRunId": parent, **tags,
                                                               "nmlab.kind": "initial_mask"})  # fmt: skip
    keep(start.info.run_id, 77)
    return analyse(store, runs=collect(store, study="masked"))


def test_masks_are_read_up_to_a_size(masked, store):
    ids = [trial.run_id for trial in masked.runs.trials]
    size = store.artifact_size(ids[0], name="mask.safetensors")
    assert len(read_masks(store, run_ids=ids)) == 3
    assert list(read_masks(store, run_ids=ids, most_bytes=size)) == ids[:1]
    assert store.artifact_size(ids[0], name="none.txt") is None


def test_the_matrix_holds_the_overlaps(masked):
    info = overlaps_of(masked.summary_rows, masks=masked.masks)
    (matrix,) = info.matrices
    assert (matrix.pattern, matrix.labels, matrix.chance) == ("2:4", ("wanda", "susi"), 0.5)
    first = {row.item.method: row.item.finished[0].run_id for row in masked.summary_rows}
    expected = overlap(masked.masks[first["wanda"]], second=masked.masks[first["susi"]])
    assert matrix.shares == ((1.0, expected), (expected, 1.0))
    assert draw_overlap(info).svg.startswith(b"<?xml")


def test_the_pictures_are_corners_of_the_masks(masked):
    info = corners_of(masked.summary_rows, masks=masked.masks)
    assert info.labels == ("wanda", "susi")
    assert info.layers == tuple(SHAPES)
    run_id = next(trial.run_id for trial in masked.runs.trials if trial.method == "wanda")
    assert np.array_equal(info.pictures[0][0], masked.masks[run_id][info.layers[0]].unpacked()[:8, :8])
    assert draw_pictures(info).png.startswith(b"\x89PNG")


def test_the_change_of_each_layer_is_against_the_kept_start(masked):
    info = layer_changes(masked.summary_rows, runs=masked.runs, masks=masked.masks)
    (curve,) = info.curves
    assert (curve.label, info.layers) == ("susi", ("0 q_proj", "0 up_proj"))
    start = masked.masks[masked.runs.initial_masks[0].run_id]
    runs = [trial.run_id for trial in masked.runs.trials if trial.method == "susi"]
    own = [100 * np.array(list(layer_change(masked.masks[run], start=start).values())) for run in runs]
    by_name = dict(zip(sorted(SHAPES), np.mean(own, axis=0), strict=True))
    assert curve.mean == pytest.approx([by_name[name] for name in SHAPES])
    assert draw_layers(info).svg


def test_masks_that_are_their_own_starts_have_no_figure_of_change(masked):
    start = masked.masks[masked.runs.initial_masks[0].run_id]
    info = layer_changes(masked.summary_rows, runs=masked.runs, masks=dict.fromkeys(masked.masks, start))
    assert info.skipped == "no learned mask differs from the mask it started from"


def test_without_masks_there_are_no_figures(analysis):
    assert overlaps_of(analysis.summary_rows, masks={}).skipped == "no two comparable masks were kept"
    assert corners_of(analysis.summary_rows, masks={}).skipped
    assert layer_changes(analysis.summary_rows, runs=analysis.runs, masks={}).skipped
    assert draw_layers(layer_changes(analysis.summary_rows, runs=analysis.runs, masks={})).svg == b""


def test_only_equal_masks_agree_on_a_hundred_percent():
    assert [percent(share) for share in (0.5, 0.926, 0.9956, 0.99999, 1.0)] == ["50", "93", "99.56", "99.99", "100"]
