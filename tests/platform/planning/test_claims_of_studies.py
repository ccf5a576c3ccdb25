"""Claims of nmlab's own: each is about configurations that its study runs."""

import pytest

from nmlab.platform.planning import study_trials
from nmlab.reports.analysis.claims import claims
from nmlab.reports.analysis.claims.claim import EXTREMES
from nmlab.search_spaces import loader
from nmlab.search_spaces.space import grid_points

OWN = sorted({item for claim in claims().values() if claim.paper == "nmlab" for item in claim.items})


@pytest.mark.parametrize("item", OWN)
def test_each_claim_of_ours_names_what_its_study_runs(item):
    study = loader.load(item.removeprefix("nmlab/"))
    specs = [*study_trials.example_specs(study), *study_trials.baseline_specs(study)]
    patterns = {str(spec.pattern) for spec in specs}
    run = [(spec.method, str(spec.pattern), spec.hyperparameters) for spec in specs]
    points = [*grid_points(study)]
    run += [(point["method"], point["pattern"], point) for point in points]
    sides = [side for claim in claims().values() if item in claim.items for side in claim.test.sides]
    assert sides
    for side in sides:
        settings = {name: value for name, value in side.settings.items() if value not in EXTREMES}
        assert side.pattern in patterns
        assert any(
            (side.method, side.pattern) == (method, pattern) and settings.items() <= {**study.fixed, **given}.items()
            for method, pattern, given in run
        ), side.text
