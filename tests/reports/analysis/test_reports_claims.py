"""The papers' claims: well formed, and each kind of test with every verdict that it can give."""

import math
from dataclasses import replace

import pytest
from judging import METRIC, judge, trained, with_metric

from nmlab.reports.analysis.claims import ClaimVerdict, claims, judgements_of
from nmlab.reports.analysis.claims.claim import (
    ChoiceTest,
    DominatesTest,
    FlatTest,
    ImprovesTest,
    OrderTest,
    OverlapTest,
    RatioTest,
    Selector,
)
from nmlab.reports.analysis.claims.select import NotTestableError, chosen
from nmlab.reports.analysis.published import published_tables
from nmlab.reports.tables.claims import claims_table, summary_of

OWN = {"nmlab/relaxations", "nmlab/starts", "nmlab/maskpro-efficiency"}
FIGURES = {"maskpro/figure-3a", "maskpro/figure-3b", "maskpro/figure-4", "susi/figure-3", "susi/figure-4"}


def test_every_claim_speaks_of_published_items_and_has_a_name():
    for name, claim in claims().items():
        assert claim.id == name
        assert set(claim.items) <= set(published_tables()) | FIGURES | OWN
        assert all(item.startswith(f"{claim.paper}/") for item in claim.items)
        assert claim.says.endswith(".")
    assert len(claims()) == 44
    assert {claim.test.kind for claim in claims().values()} == {
        "order", "beats", "choice", "flat", "improves", "ratio", "dominates", "overlap"}  # fmt: skip


def test_a_claim_of_ours_is_decided_by_the_launch_and_not_called_a_papers(configuration):
    own = {"noise": "none"}, {"exclude_argmax": False}
    first, second = (
        replace(trained(configuration, values, **settings), method=method, pattern=pattern)
        for pattern in ("4:8",)
        for method, settings, values in (
            ("soft_topn", own[0], [10.0, 11.0, 12.0]),
            ("susi", own[1], [20.0, 21.0, 22.0]),
        )
    )
    found = {
        each.claim.id: each for each in judgements_of([first, second], reproduces=["nmlab/relaxations"], evaluations={})
    }
    assert found["soft-topn-beats-susi-48"].verdict is ClaimVerdict.REPRODUCED
    assert found["soft-topn-beats-susi-816"].verdict is ClaimVerdict.NOT_TESTED
    assert claims_table([*found.values()]).title == "Claims of nmlab"
    assert summary_of([*found.values()]).startswith("Of 5 claims of nmlab: 1 reproduced")


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ([20.0, 21.0, 22.0], ClaimVerdict.REPRODUCED),
        ([10.2, 10.9, 12.1], ClaimVerdict.NOT_SEPARABLE),
        ([4.0, 4.1, 4.3], ClaimVerdict.CONTRADICTED),
        ([math.inf, math.inf, math.inf], ClaimVerdict.REPRODUCED),
    ],
)
def test_an_order_of_two(configuration, second, verdict):
    items = [trained(configuration, [10.0, 11.0, 12.0], alpha=1), trained(configuration, second, alpha=2)]
    sides = tuple(Selector(method="maskpro", settings={"alpha": value}) for value in (1, 2))
    found = judge(OrderTest(kind="order", sides=sides), items)
    assert found.verdict is verdict
    assert found.run_ids == (*items[0].run_ids, *items[1].run_ids)


def test_an_order_breaks_at_its_weakest_neighbours(configuration):
    items = [
        trained(configuration, [10.0, 10.1, 10.2], alpha=1),
        trained(configuration, [20.0, 20.1, 20.3], alpha=2),
        trained(configuration, [20.1, 20.0, 20.4], alpha=3),
    ]
    sides = tuple(Selector(method="maskpro", settings={"alpha": value}) for value in (1, 2, 3))
    found = judge(OrderTest(kind="order", sides=sides), items)
    assert [check.verdict for check in found.checks] == [ClaimVerdict.REPRODUCED, ClaimVerdict.NOT_SEPARABLE]
    assert found.verdict is ClaimVerdict.NOT_SEPARABLE


def test_a_difference_says_what_of(configuration):
    items = []
    for sampler, times in (("gumbel_topk", [0.001, 0.0011, 0.001]), ("multinomial", [0.002, 0.0021, 0.002])):
        item = trained(configuration, [10.0, 11.0, 12.0], sampler=sampler)
        items.append(with_metric(item, "time/sample_s", times))
    sides = tuple(Selector(method="maskpro", settings={"sampler": name}) for name in ("gumbel_topk", "multinomial"))
    found = judge(OrderTest(kind="order", metric="time/sample_s", sides=sides), items)
    assert found.verdict is ClaimVerdict.REPRODUCED
    assert "−0.001 sample seconds (p " in found.evidence


def test_two_timings_decide_nothing(configuration):
    items = [
        with_metric(trained(configuration, [10.0, 11.0], sampler=sampler), "time/sample_s", times)
        for sampler, times in (("gumbel_topk", [0.001, 0.00101]), ("multinomial", [0.002, 0.00201]))
    ]
    sides = tuple(Selector(method="maskpro", settings={"sampler": name}) for name in ("gumbel_topk", "multinomial"))
    found = judge(OrderTest(kind="order", metric="time/sample_s", sides=sides), items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert "untested (2 seeds, a measurement needs at least 3)" in found.evidence


def test_one_seed_decides_nothing(configuration):
    items = [trained(configuration, [10.0], alpha=1), trained(configuration, [20.0], alpha=2)]
    sides = tuple(Selector(method="maskpro", settings={"alpha": value}) for value in (1, 2))
    found = judge(OrderTest(kind="order", sides=sides), items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert "untested (one seed each)" in found.evidence


def test_largest_and_smallest_are_of_what_was_run(configuration):
    items = [trained(configuration, [value] * 2, logit_magnitude=value) for value in (3.0, 5.0, 4.0)]
    side = chosen(
        Selector(method="maskpro", settings={"logit_magnitude": "largest"}), configurations=items, metric=METRIC
    )
    assert side.item.settings["logit_magnitude"] == 5.0
    with pytest.raises(NotTestableError, match="logit_magnitude was not varied"):
        chosen(Selector(method="maskpro", settings={"logit_magnitude": "largest"}), configurations=items[:1],
               metric=METRIC)  # fmt: skip


def test_a_side_is_the_best_of_several_matches(configuration):
    items = [trained(configuration, [value, value + 1], alpha=1, lr=value) for value in (30.0, 10.0, 20.0)]
    side = chosen(Selector(method="maskpro", settings={"alpha": 1}), configurations=items, metric=METRIC)
    assert side.item.settings["lr"] == 10.0


def test_a_side_of_which_a_seed_is_missing_does_not_count(configuration):
    item = trained(configuration, [10.0, math.inf], alpha=1)
    with pytest.raises(NotTestableError, match="no configuration of which every seed finished"):
        chosen(Selector(method="maskpro"), configurations=[item], metric=METRIC)


def test_a_choice_is_compared_with_every_other_value(configuration):
    items = [
        trained(configuration, [value, value + 0.1, value + 0.3], alpha=alpha)
        for alpha, value in ((0.7, 30.0), (0.99, 10.0), (0.9, 5.0))
    ]
    found = judge(ChoiceTest(kind="choice", method="maskpro", setting="alpha", value=0.99), items)
    assert {check.text: check.verdict for check in found.checks} == {
        "alpha=0.99 against alpha=0.7": ClaimVerdict.REPRODUCED,
        "alpha=0.99 against alpha=0.9": ClaimVerdict.CONTRADICTED,
    }
    assert found.verdict is ClaimVerdict.CONTRADICTED


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([100.0, 101.0, 102.1], ClaimVerdict.REPRODUCED),
        ([90.0, 103.0, 112.0], ClaimVerdict.NOT_SEPARABLE),
        ([130.0, 131.0, 132.0], ClaimVerdict.CONTRADICTED),
    ],
)
def test_flat_is_an_equivalence_test(configuration, values, verdict):
    items = [trained(configuration, values, samples=1), trained(configuration, [100.0, 101.0, 102.0], samples=128)]
    found = judge(FlatTest(kind="flat", method="maskpro", setting="samples", margin=0.05), items)
    assert found.verdict is verdict


def test_learned_masks_against_their_own_starts(configuration):
    items = [
        trained(configuration, [80.0, 81.0, 82.0], initial_mask="wanda"),
        trained(configuration, [99.0, 101.0, 100.5], initial_mask="random"),
    ]
    found = judge(ImprovesTest(kind="improves", method="maskpro"), items)
    assert [check.verdict for check in found.checks] == [ClaimVerdict.NOT_SEPARABLE, ClaimVerdict.REPRODUCED]


def test_counts_need_no_test(configuration):
    first = with_metric(trained(configuration, [10.0], method="maskllm"), "cost/trainable_params", [15.0])
    second = with_metric(trained(configuration, [10.0], method="susi"), "cost/trainable_params", [10.0])
    sides = {"side": Selector(method="maskllm"), "other": Selector(method="susi")}
    for value, verdict in ((1.5, ClaimVerdict.REPRODUCED), (3.5, ClaimVerdict.CONTRADICTED)):
        test = RatioTest(kind="ratio", metric="cost/trainable_params", value=value, **sides)
        found = judge(test, [first, second])
        assert found.verdict is verdict
        assert found.evidence.endswith("(counted, the same in every run)")


@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        ([15.0], ClaimVerdict.NOT_TESTED),
        ([15.0, 15.1, 15.05], ClaimVerdict.REPRODUCED),
        ([12.0, 15.0, 19.0], ClaimVerdict.NOT_SEPARABLE),
        ([30.0, 30.1, 30.2], ClaimVerdict.CONTRADICTED),
    ],
)
def test_a_ratio_of_measurements_is_tested_over_seeds(configuration, times, verdict):
    values = [10.0 + seed for seed in range(len(times))]
    first = with_metric(trained(configuration, values, method="maskllm"), "time/step_s", times)
    second = with_metric(trained(configuration, values, method="susi"), "time/step_s", [10.0] * len(times))
    sides = {"side": Selector(method="maskllm"), "other": Selector(method="susi")}
    test = RatioTest(kind="ratio", metric="time/step_s", value=1.5, tolerance=0.05, **sides)
    assert judge(test, [first, second]).verdict is verdict


@pytest.mark.parametrize(
    ("sampling", "verdict"),
    [
        ([3.0], ClaimVerdict.NOT_TESTED),
        ([0.5], ClaimVerdict.NOT_TESTED),  # a machine that was busy once contradicts no paper
        ([0.5, 0.5001], ClaimVerdict.NOT_TESTED),
        ([3.0, 3.1, 3.2], ClaimVerdict.REPRODUCED),
        ([0.5, 0.51, 0.52], ClaimVerdict.CONTRADICTED),
        ([0.5, 4.0, 2.0], ClaimVerdict.NOT_SEPARABLE),
    ],
)
def test_a_share_of_time_is_decided_over_the_timings_of_several_seeds(configuration, sampling, verdict):
    timed = trained(configuration, [10.0 + seed for seed in range(len(sampling))])
    for name, values in (("sample", sampling), ("forward", [1.0] * 3), ("update", [1.0] * 3)):
        timed = with_metric(timed, f"time/{name}_s", values[: len(sampling)])
    parts = ("time/forward_s", "time/update_s")
    found = judge(DominatesTest(kind="dominates", method="maskpro", part="time/sample_s", others=parts), [timed])
    assert found.verdict is verdict
    assert "% of a step's time on this machine" in found.evidence


@pytest.mark.parametrize(
    ("near", "far", "verdict"),
    [
        ([0.7], [0.6], ClaimVerdict.NOT_TESTED),
        ([0.70, 0.71, 0.72], [0.60, 0.60, 0.63], ClaimVerdict.REPRODUCED),
        ([0.60, 0.60, 0.63], [0.70, 0.71, 0.72], ClaimVerdict.CONTRADICTED),
        ([0.60, 0.70, 0.65], [0.66, 0.65, 0.66], ClaimVerdict.NOT_SEPARABLE),
    ],
)
def test_overlaps_are_compared_seed_by_seed(configuration, near, far, verdict):
    values = [10.0 + seed for seed in range(len(near))]
    items = {name: trained(configuration, values, method=name) for name in ("susi", "maskllm", "proxsparse")}
    test = OverlapTest(
        kind="overlap",
        side=Selector(method="susi"),
        nearest=Selector(method="maskllm"),
        others=(Selector(method="proxsparse"),),
    )
    overlaps = {
        (items["susi"].run_ids[seed], items[name].run_ids[seed]): value
        for name, shares in (("maskllm", near), ("proxsparse", far))
        for seed, value in enumerate(shares)
    }
    assert judge(test, list(items.values()), overlaps=overlaps).verdict is verdict
    with pytest.raises(NotTestableError, match="masks were not kept"):
        judge(test, list(items.values()))
    if len(near) > 1:
        overlaps.pop((items["susi"].run_ids[0], items["maskllm"].run_ids[0]))
        some = judge(test, list(items.values()), overlaps=overlaps)
        assert some.verdict is ClaimVerdict.NOT_TESTED
        assert "masks of 2 of 3 seeds can be paired" in some.evidence


def test_overlaps_of_masks_without_training_noise_are_counts(configuration):
    items = {name: configuration([10.0], method=name, depends_on_seed="false") for name in ("susi", "maskllm", "wanda")}
    ids = {name: item.run_ids[0] for name, item in items.items()}
    test = OverlapTest(
        kind="overlap",
        side=Selector(method="susi"),
        nearest=Selector(method="maskllm"),
        others=(Selector(method="wanda"), Selector(method="magnitude")),
    )
    overlaps = {(ids["susi"], ids["maskllm"]): 0.7, (ids["susi"], ids["wanda"]): 0.6}
    found = judge(test, list(items.values()), overlaps=overlaps)
    assert [check.verdict for check in found.checks] == [ClaimVerdict.NOT_TESTED, ClaimVerdict.REPRODUCED]
    assert "1 of 2 others ran; missing: magnitude" in found.evidence


def test_all_comparisons_of_a_report_are_corrected_together(configuration):
    items = [trained(configuration, [10.0 + k, 11.0 + k, 12.4 + k], alpha=k) for k in range(4)]
    found = judge(ChoiceTest(kind="choice", method="maskpro", setting="alpha", value=0), items)
    raw = sorted(check.comparison.training.p_value for check in found.checks)
    adjusted = sorted(check.comparison.p_adjusted for check in found.checks)
    assert adjusted[-1] == pytest.approx(raw[-1])
    assert adjusted[0] == pytest.approx(min(3 * raw[0], 1.5 * raw[1], raw[2]))


def test_a_study_that_reproduces_an_item_lists_its_claims_tested_or_not(configuration):
    items = [trained(configuration, [10.0, 11.0], alpha=0.99), trained(configuration, [40.0, 41.0], alpha=0.7)]
    found = judgements_of(items, reproduces=("maskpro/table-10",), evaluations={})
    assert [item.claim.id for item in found] == ["maskpro-alpha-099", "maskpro-alpha-collapse"]
    both = judgements_of(items, reproduces=("susi/table-7", "maskpro/table-10"), evaluations={})
    assert [item.claim.id for item in both] == [
        "maskpro-alpha-099",
        "maskpro-alpha-collapse",
        "susi-soft-beats-straight-through",
    ]
    missing = judgements_of(items, reproduces=("susi/table-7",), evaluations={})
    assert [item.verdict for item in missing] == [ClaimVerdict.NOT_TESTED]
    assert missing[0].evidence == (
        "not tested (0 of 2 sides ran; missing: susi, straight_through=False, susi, straight_through=True)"
    )


def test_a_search_decides_claims_about_methods_but_none_about_settings(configuration):
    items = [
        trained(configuration, [10.0, 11.0], alpha=0.99, initial_mask="wanda", logit_magnitude=4.0),
        trained(configuration, [40.0, 41.0], alpha=0.7, initial_mask="wanda", logit_magnitude=6.0),
        configuration([60.0], method="wanda", role="baseline"),
    ]
    free = judgements_of(items, reproduces=(), evaluations={})
    assert [item.claim.id for item in free] == ["maskpro-beats-rules", "maskpro-improves-every-start"]
    assert all(item.checks for item in free)


def test_the_evidence_names_the_pattern_where_there_are_several(configuration):
    items = [trained(configuration, [10.0]), trained(configuration, [20.0], alpha=0.9)]
    object.__setattr__(items[1], "pattern", "4:8")
    for name, value in (("time/sample_s", 3.0), ("time/forward_s", 1.0), ("time/update_s", 1.0)):
        items = [with_metric(item, name, [value]) for item in items]
    (both,) = judgements_of(items, reproduces=("maskpro/table-15",), evaluations={})
    share = "sample: 60% of a step's time on this machine, untested (1 seed, a measurement needs at least 3)"
    assert both.evidence == f"2:4, {share}; 4:8, {share}"
    (one,) = judgements_of(items[:1], reproduces=("maskpro/table-15",), evaluations={})
    assert one.evidence == share


def test_the_table_of_the_small_study(analysis):
    table = claims_table(analysis.judgements)
    verdicts = dict(zip((cell.value for cell in table.column("claim_id")),
                        (cell.value for cell in table.column("verdict")), strict=True))  # fmt: skip
    assert verdicts["maskpro-beats-rules"] == "not tested at this scale"  # two of five rules ran
    assert verdicts["wanda-beats-magnitude"] == "reproduced"
    assert "maskpro-alpha-099" not in verdicts  # the study reproduces nothing
    assert "maskllm-beats-maskpro" not in verdicts
    assert table.notes == (summary_of(analysis.judgements),)
    assert list(verdicts.values()) == sorted(verdicts.values(), key=[str(item) for item in ClaimVerdict].index)
