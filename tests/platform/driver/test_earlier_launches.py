"""What of earlier launches a new one starts from, as its user is told it, and what is refused in one line."""

import math

import pytest

from nmlab.platform.driver import warm_start
from nmlab.platform.driver.warm_start import plan_warm_start
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.records.events import TrialEnded, TrialSubmitted
from nmlab.platform.search.earlier_search import EarlierSearch
from nmlab.platform.search.initial_points import points
from nmlab.reports.read.errors import ReportError
from nmlab.reports.scaling import Scaled
from nmlab.reports.scaling.evidence import ModelSize, Tried, best_place
from nmlab.reports.scaling.proposal import propose

METRIC = "eval/perplexity"
SPACE = "space={alpha: {choice: [0.9, 0.95, 0.99]}, initial_mask: {choice: [magnitude, wanda]}}"
STUDY = (SPACE, "search={algorithm: tpe, samples: 3}", "seeds=[0, 1]", "baselines=[]", "fixed={steps: 4}")


def search_of(plan, values, *, launch="earlier", seeds=(0, 1), **others):
    """Return an earlier search of a plan's space; each value is that of a point: None failed, NaN has not ended."""
    records = []
    for point, value in zip(points(plan.study), values, strict=False):
        for seed in seeds:
            spec = trial_spec(plan.study, point, seed=seed)
            records.append(TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json")))
            metrics = {} if value is None else {METRIC: value}
            status = "failed" if value is None else "finished"
            result = {"key": spec.key, "status": status, "step": 4, "metrics": metrics, "reason": ""}
            records += [] if value is not None and math.isnan(value) else [TrialEnded(key=spec.key, result=result)]
    given = {"model_digest": "weights", "data_digest": plan.facts.data_digest, **others}
    return EarlierSearch("quickstart", launch, (METRIC,), ("min",), seeds, set(), records, **given)


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Return a function that plans a launch that starts from earlier searches."""

    def plan_from(plan, *searches):
        known = {search.launch: search for search in searches}
        monkeypatch.setattr(warm_start, "read_earlier_search", lambda name, **where: known[name])
        return plan_warm_start(
            plan, list(known), results=tmp_path, tracking_uri="sqlite:///none.db", digest_of=lambda source: "weights"
        )

    return plan_from


def lines(record):
    return [source["line"] for source in record.sources]


def test_what_enters_and_what_is_left_out_is_counted(plan_of, start):
    wider = plan_of(*STUDY, SPACE.replace("0.99]", "0.99, 0.5]"))
    plan = plan_of(*STUDY)
    values = [31.0, None, 33.0, 34.0, math.nan, 36.0, 20.0, 20.0]
    record = start(plan, search_of(wider, values))
    assert lines(record) == [
        "earlier: 5 configurations with outcomes (4 complete, 1 failed), told by the means over its seeds 0, 1; left "
        "out: 2 outside of the space, 1 not ended"
    ]
    assert sorted(each["values"][0] for each in record.entered if "values" in each) == [31.0, 33.0, 34.0, 36.0]


def test_a_configuration_of_several_launches_enters_once(plan_of, start):
    plan = plan_of(*STUDY)
    first, second = search_of(plan, [31.0, None]), search_of(plan, [32.0, 33.0, 34.0], launch="later", seeds=(2, 3))
    record = start(plan, first, second)
    assert [(each["launch"], each.get("values")) for each in record.entered] == [
        ("earlier", [31.0]),
        ("later", [33.0]),
        ("later", [34.0]),
    ], "an outcome replaces a failure"
    assert lines(record)[1] == (
        "later: 2 configurations with outcomes (2 complete), told by the means over its seeds 2, 3 (here 0, 1; seeds "
        "are replicates, so both estimate the same); left out: 1 entered from another launch"
    )


@pytest.mark.parametrize("algorithm", ["grid", "random", "qmc"])
def test_a_search_that_does_not_choose_by_outcomes_refuses_it(plan_of, start, algorithm):
    samples = "" if algorithm == "grid" else ", samples: 3"
    plan = plan_of(*STUDY, f"search={{algorithm: {algorithm}{samples}}}", SPACE.replace("choice", "grid"))
    with pytest.raises(ValueError, match=f"--warm-start: search.algorithm {algorithm}: it does not choose") as refused:
        start(plan, search_of(plan, [31.0]))
    assert str(refused.value).endswith("; expected tpe or gp")


def test_a_search_that_breeds_refuses_it(plan_of, start):
    search = "search={algorithm: nsga2, samples: 3, metric: [eval/perplexity, cost/forwards], mode: [min, min]}"
    plan = plan_of(*STUDY, search)
    with pytest.raises(ValueError, match="it breeds from generations of its own and ignores all other outcomes"):
        start(plan, search_of(plan, [31.0]))


def test_a_launch_of_no_use_is_refused_with_the_reason(plan_of, start):
    plan = plan_of(*STUDY)
    outside = search_of(plan_of(*STUDY, SPACE.replace("0.9, 0.95, 0.99", "0.5, 0.6")), [31.0, 32.0])
    with pytest.raises(ValueError, match="nothing of it is of use here: earlier: nothing enters") as refused:
        start(plan, outside)
    assert "left out: 2 outside of the space; leave it out, or widen the space" in str(refused.value)


def test_others_say_where_to_look_first(plan_of, start):
    """The best three that lie in the space, each once."""
    plan = plan_of(*STUDY)
    record = start(plan, search_of(plan, [36.0, 35.0, 34.0, None, 33.0, 32.0], data_digest="other"))
    assert lines(record) == [
        "earlier: none of its outcomes enters, because its text is another; 3 initial points (its best)"
    ]
    given = list(points(plan.study))
    wanted = [{name: given[place][name] for name in ("alpha", "initial_mask")} for place in (5, 4, 2)]
    assert record.points == wanted
    assert record.entered == []


def test_another_pattern_of_another_model_is_looked_at_by_its_other_values(plan_of, start):
    plan = plan_of(*STUDY, "pattern=4:8")
    record = start(plan, search_of(plan_of(*STUDY), [31.0], model_digest="other"))
    assert record.points == [{"alpha": 0.9, "initial_mask": "magnitude"}]


def test_none_that_lies_in_the_space_is_refused(plan_of, start):
    plan = plan_of(*STUDY)
    outside = search_of(plan_of(*STUDY, SPACE.replace("0.9, 0.95, 0.99", "0.5, 0.6")), [31.0], model_digest="other")
    with pytest.raises(ValueError, match=r"no initial point: none of 1 \(its best\) lies in the space"):
        start(plan, outside)


SCALED = "space={logit_magnitude: {uniform: [0.5, 20]}, learning_rate: {loguniform: [0.001, 1000]}}"


def proposal_for(groups):
    """Return what the rule of `nmlab scale` gives for a model, from one of 6656 groups."""
    tried = [
        Tried(magnitude, rate, 100, (abs(magnitude - 4.0) + abs(rate - 1.0) / 10,))
        for magnitude in (3.0, 4.0, 5.0)
        for rate in (0.3, 1.0)
    ]
    places = (best_place(ModelSize("small", 6656, 2, 4, tuple(tried))),)
    return Scaled(places, propose(places, groups=groups, n=2, m=4), "", ())


def test_another_model_is_looked_at_by_the_rule_of_scale(plan_of, start, monkeypatch):
    asked = {}

    def scale(studies, *, groups, pattern, tracking_uri):
        asked.update(studies=studies, groups=groups, pattern=pattern)
        return proposal_for(groups)

    monkeypatch.setattr("nmlab.reports.scaling.scale", scale)
    plan = plan_of(*STUDY, SCALED)
    record = start(plan, search_of(plan, [31.0, 32.0], model_digest="other"))
    groups = plan.facts.prunable // 4
    assert asked == {"studies": ["quickstart@earlier"], "groups": groups, "pattern": "2:4"}
    wanted = proposal_for(groups).proposal
    assert [point["logit_magnitude"] for point in record.points] == [each["logit_magnitude"] for each in wanted.points]
    steps = int(float(f"{wanted.steps.middle:.2g}"))
    assert [point["learning_rate"] for point in record.points] == [
        pytest.approx(each["learning_rate"] * steps / 4, rel=0.01) for each in wanted.points
    ], "logits move as far in the four steps of this study"
    assert lines(record)[0].endswith("3 initial points (by the rule of nmlab scale from its 2 configurations)")


def test_where_the_rule_does_not_apply_the_best_are_taken_as_they_are(plan_of, start, monkeypatch):
    def scale(studies, **given):
        raise ReportError("too few values of logit_magnitude")

    monkeypatch.setattr("nmlab.reports.scaling.scale", scale)
    plan = plan_of(*STUDY, SCALED)
    record = start(plan, search_of(plan, [31.0, 32.0], model_digest="other"))
    assert lines(record)[0].endswith("2 initial points (its best)")
