"""What pipeline stages cannot do is refused before anything starts. `test_nodes` runs them."""

import pytest

from nmlab.platform.planning.checks import check_pipeline_stages
from nmlab.platform.planning.study_plan import plan_study
from nmlab.search_spaces import loader

TINY_BLOCKS = 2


def study(**replica):
    return loader.load("quickstart", overrides=[f"replica.{name}={value}" for name, value in replica.items()])


def test_more_stages_than_blocks_are_refused_before_anything_starts():
    with pytest.raises(
        ValueError, match=r"replica\.pipeline_stages=3: builtin:tiny has 2 decoder blocks; expected at most 2"
    ):
        plan_study(study(pipeline_stages=3))
    assert plan_study(study(pipeline_stages=TINY_BLOCKS)).study.replica.pipeline_stages == TINY_BLOCKS


def test_methods_that_need_the_whole_model_are_refused_by_name():
    methods = ["maskpro", "proxsparse", "wanda", "susi"]
    with pytest.raises(
        ValueError, match=r"pipeline_stages = 2: proxsparse works on whole models only; use pipeline_stages: 1"
    ):
        check_pipeline_stages(study(pipeline_stages=2), methods, blocks=8)
    check_pipeline_stages(study(pipeline_stages=1), methods, blocks=8)


def test_tasks_are_refused_with_pipeline_stages():
    asked = loader.load("quickstart", overrides=["replica.pipeline_stages=2", "data.evaluation.tasks=[piqa]"])
    with pytest.raises(ValueError, match=r"pipeline_stages = 2: tasks need a whole model; .* or tasks: \[\]"):
        check_pipeline_stages(asked, [], blocks=8)
