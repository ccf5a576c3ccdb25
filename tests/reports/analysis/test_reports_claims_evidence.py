"""A claim needs all of its evidence: sides that did not run, ran in part, or were selected from several."""

import math

import pytest
from judging import METRIC, judge, trained
from measured import with_metrics

from nmlab.reports.analysis.claims import ClaimVerdict, Evidence, checks_of
from nmlab.reports.analysis.claims.claim import BeatsTest, ChoiceTest, FlatTest, ImprovesTest, OrderTest, Selector
from nmlab.reports.analysis.claims.select import NotTestableError, planned_values_of
from nmlab.reports.tables.claims import claims_table
from nmlab.trials.contract.metrics import initial_name


def beats(*names):
    others = tuple(Selector(method=name, pattern="2:4") for name in names)
    return BeatsTest(kind="beats", side=Selector(method="susi", pattern="2:4"), others=others)


def test_a_claim_about_every_rule_is_not_decided_on_some_of_them(configuration):
    items = [
        trained(configuration, [10.0, 11.0], method="susi"),
        configuration([30.0], method="wanda", role="baseline"),
        configuration([32.0], method="magnitude", role="baseline"),
    ]
    found = judge(beats("magnitude", "wanda", "ria", "sparsegpt", "gblm"), items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert found.missing == ("ria", "sparsegpt", "gblm")
    assert found.evidence.startswith("not tested (2 of 5 rules ran; missing: ria, sparsegpt, gblm); susi 2:4 against ")
    assert judge(beats("magnitude", "wanda"), items).verdict is ClaimVerdict.REPRODUCED
    with pytest.raises(NotTestableError, match=r"not tested \(0 of 1 rules ran; missing: ria\)"):
        judge(beats("ria"), items)


def test_what_ran_can_contradict_a_claim_whose_evidence_is_not_complete(configuration):
    """One rule that is better refutes "better than every rule", whatever the others are."""
    items = [
        trained(configuration, [10.0, 10.1, 10.2], method="susi"),
        configuration([5.0], method="wanda", role="baseline"),
    ]
    found = judge(beats("wanda", "ria"), items)
    assert found.verdict is ClaimVerdict.CONTRADICTED
    assert found.evidence.startswith("(1 of 2 rules ran; missing: ria); ")


def test_a_rule_that_ran_in_part_is_missing_with_its_reason(configuration):
    items = [
        trained(configuration, [10.0, 11.0], method="susi"),
        configuration([30.0, math.inf], method="wanda", role="baseline"),
        configuration([30.0, 31.0], method="ria", role="baseline"),
    ]
    found = judge(beats("wanda", "ria"), items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert "missing: wanda (not every seed finished)" in found.evidence


def test_an_order_with_a_side_missing_is_not_decided(configuration):
    items = [trained(configuration, [10.0 * k, 10.0 * k + 0.3], alpha=k) for k in (1, 3)]
    sides = tuple(Selector(method="maskpro", settings={"alpha": value}) for value in (1, 2, 3))
    found = judge(OrderTest(kind="order", sides=sides), items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert found.evidence.startswith("not tested (2 of 3 sides ran; missing: maskpro, alpha=2); ")
    backwards = judge(OrderTest(kind="order", sides=sides[::-1]), items)
    assert backwards.verdict is ClaimVerdict.CONTRADICTED


def test_seeds_that_only_one_side_has_leave_a_claim_untested(configuration):
    items = [trained(configuration, [10.0, 10.1, 10.3], alpha=1), trained(configuration, [20.0, 20.4], alpha=2)]
    sides = tuple(Selector(method="maskpro", settings={"alpha": value}) for value in (1, 2))
    found = judge(OrderTest(kind="order", sides=sides), items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert "untested (2 of 3 seeds ran on both sides)" in found.evidence


def test_one_run_that_diverged_decides_nothing(configuration):
    items = [trained(configuration, [10.0], alpha=1), trained(configuration, [math.inf], alpha=2)]
    sides = tuple(Selector(method="maskpro", settings={"alpha": value}) for value in (1, 2))
    assert judge(OrderTest(kind="order", sides=sides), items).verdict is ClaimVerdict.NOT_TESTED


def test_a_side_is_not_compared_where_one_that_lacks_a_seed_looks_better(configuration):
    items = [
        trained(configuration, [10.0, 11.0], alpha=1, lr=1.0),
        trained(configuration, [20.0, 21.0], alpha=2, lr=1.0),
        trained(configuration, [5.0, math.inf], alpha=2, lr=2.0),
    ]
    sides = tuple(Selector(method="maskpro", settings={"alpha": value}) for value in (1, 2))
    with pytest.raises(
        NotTestableError, match=rf"1 of 2 sides ran; missing: .* \({items[2].key} looks better but has only 1 of"
    ):
        judge(OrderTest(kind="order", sides=sides), items)


def test_a_side_selected_as_the_best_of_several_is_marked(configuration):
    items = [trained(configuration, [value, value + 0.1], method="susi", lr=value) for value in (10.0, 12.0, 14.0)]
    items.append(configuration([30.0], method="wanda", role="baseline"))
    found = judge(beats("wanda"), items)
    assert found.selected == ("susi 2:4 (best of 3)",)
    assert found.evidence.startswith("susi 2:4 (best of 3) against wanda 2:4: ")
    table = claims_table([found])
    (cell,) = table.column("selected")
    assert cell.value == "susi 2:4 (best of 3): chosen on the same evaluation text"
    assert table.notes[0].endswith(
        "1 of these verdicts compares a configuration that was selected by the same numbers."
    )


def test_values_that_the_paper_tried_or_the_study_planned_are_evidence_too(configuration):
    items = [trained(configuration, [value, value + 0.1], alpha=alpha) for alpha, value in ((0.7, 30.0), (0.99, 10.0))]
    test = ChoiceTest(kind="choice", method="maskpro", setting="alpha", value=0.99, others=(0.7, 0.9))
    found = judge(test, items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert found.evidence.startswith("not tested (1 of 2 other values ran; missing: 0.9); ")
    planned = Evidence(items, METRIC, {}, {}, {"alpha": [0.7, 0.95, 0.99]})
    checks = checks_of(ChoiceTest(kind="choice", method="maskpro", setting="alpha", value=0.99), evidence=planned)
    assert [check.missing for check in checks] == ["0.95", ""]
    flat = checks_of(FlatTest(kind="flat", method="maskpro", setting="alpha", margin=0.05), evidence=planned)
    assert [check.missing for check in flat if check.missing] == ["0.95"]


def test_every_start_of_the_paper_is_evidence(configuration):
    items = [trained(configuration, [80.0, 81.0, 82.0], initial_mask="wanda")]
    found = judge(ImprovesTest(kind="improves", method="maskpro", starts=("wanda", "random")), items)
    assert found.verdict is ClaimVerdict.NOT_TESTED
    assert "1 of 2 starts ran; missing: random" in found.evidence
    with_metrics(items[0], {initial_name(METRIC): [100.0, 100.0, math.nan]})
    items[0].__dict__.pop("finished", None)
    with pytest.raises(NotTestableError, match="missing: wanda \\(its initial mask was not evaluated\\)"):
        judge(ImprovesTest(kind="improves", method="maskpro"), items)


def test_what_a_study_planned_is_read_from_its_parameters():
    params = {
        "space.alpha.grid": "[0.9, 0.99]",
        "space.start.choice": "[wanda, random]",
        "data.calibration.samples.grid": "[1, 32]",
        "space.lr.loguniform": "[0.1, 1.0]",
        "space.cut.grid": "[0.1, 0.2, 0.",
        "seeds": "[0, 1]",
    }
    assert planned_values_of(params) == {
        "alpha": (0.9, 0.99),
        "start": ("wanda", "random"),
        "data.calibration.samples": (1, 32),
        "cut": (),
    }
