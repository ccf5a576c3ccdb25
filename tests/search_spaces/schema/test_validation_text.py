"""Studies with a validation text: their objective, what they may not select on, and what they learn from."""

import pytest
from pydantic import ValidationError

from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study

TEXT = {"source": "builtin:python-docs"}


SPACE = {"learning_rate": {"uniform": [1, 2]}}


@pytest.fixture
def validated(minimal):
    """Return a builder of studies with a validation text."""
    data = {**minimal["data"], "validation": TEXT}
    return lambda **changes: Study.model_validate({**minimal, "data": data, **changes})


def test_validation_perplexity_is_the_objective_unless_another_is_named(validated, study_of):
    assert validated().search.metrics == ("validation/perplexity",)
    drawn = {"algorithm": "random", "samples": 2}
    assert validated(space=SPACE, search=drawn).search.metrics == ("validation/perplexity",)
    assert validated(search={"metric": "train/loss"}).search.metrics == ("train/loss",)
    assert study_of().search.metrics == ("eval/perplexity",)
    assert study_of(space=SPACE, search=drawn).search.metrics == ("eval/perplexity",)


@pytest.mark.parametrize("metric", ["eval/perplexity", "eval/word_perplexity", ["eval/perplexity", "cost/seconds"]])
def test_nothing_is_selected_on_the_evaluation_text(validated, metric):
    algorithm = {"algorithm": "nsga2", "samples": 8} if isinstance(metric, list) else {}
    with pytest.raises(ValidationError, match="evaluation is for the report; expected validation/perplexity"):
        validated(space=SPACE, search={"metric": metric, **algorithm})


def test_accuracy_of_a_task_is_of_the_evaluation_too(minimal):
    minimal["data"] |= {"validation": TEXT, "evaluation": {**TEXT, "tasks": ["boolq"]}}
    with pytest.raises(ValidationError, match="evaluation is for the report"):
        Study.model_validate({**minimal, "search": {"metric": "eval/boolq/acc", "mode": "max"}})


def test_a_validation_metric_needs_a_validation_text(study_of):
    with pytest.raises(ValidationError, match=r"'validation/perplexity': needs a validation text, data\.validation"):
        study_of(search={"metric": "validation/perplexity"})


def test_a_scheduler_stops_by_validation(validated):
    search = {"algorithm": "random", "samples": 4, "scheduler": "asha"}
    study = validated(space=SPACE, search=search, intervals={"evaluate_every": 10})
    assert study.search.metrics[0] == "validation/perplexity"
    with pytest.raises(ValidationError, match="asha compares validation/perplexity during training"):
        validated(space=SPACE, search=search)


def test_trials_learn_from_what_validation_leaves_of_a_built_in_corpus(validated, study_of):
    assert validated().data.learning_part == "learning"
    assert study_of().data.learning_part is None
    elsewhere = validated(data={"calibration": TEXT, "validation": {"source": "held_out.txt"}, "evaluation": TEXT})
    assert elsewhere.data.learning_part is None


def test_a_study_without_the_section_is_written_as_before(study_of, validated):
    assert "validation" not in loader.dump(study_of())
    assert "confirm" not in loader.dump(study_of())
    written = loader.dump(validated(search={"confirm": {"top": 2}}))
    assert loader.loads(written) == validated(search={"confirm": {"top": 2}})
