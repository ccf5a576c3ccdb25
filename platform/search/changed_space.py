"""A space that an extension of a launch changed: whether the launch can go on with it, and what stays the same."""

from collections.abc import Sequence
from typing import Any

from nmlab.search_spaces.schema.conditions import BESIDE_SPACE
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, grid_points
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.wording import shown
from nmlab.trials.methods import registry


def space_problem(study: Study, *, earlier: Sequence[Study], to_try: int, possible: int) -> str:
    """Return why a launch cannot go on with a changed space, in one line; "" if it can.

    Args:
        study: the newest version.
        earlier: the earlier versions, oldest first.
        to_try: the configurations that it is to try.
        possible: the configurations that its space has, at most ``to_try``.
    """
    if study.space == earlier[-1].space:
        return ""
    if study.search.algorithm == "grid":
        kept = [full_values(study, point) for point in grid_points(study)]
        missing = next((point for point in grid_points(earlier[-1]) if full_values(study, point) not in kept), None)
        if missing is not None:
            searched = {name: value for name, value in missing.items() if name in earlier[-1].entries}
            return f"space: the new grid lacks {shown(searched)}; expected every point of the old grid, and more"
    elif possible < to_try:
        return f"space: it has {possible} configurations; expected {to_try} or more, as search.samples says"
    return ""


def full_values(study: Study, configuration: Configuration) -> dict[str, Any]:
    """Return every value of a configuration, with its method's defaults: the same for the same trials."""
    given = {name: value for name, value in configuration.items() if name not in BESIDE_SPACE}
    settings = registry.get(str(configuration["method"])).configure(given).model_dump(mode="json")
    samples = configuration.get(SAMPLES, study.data.calibration.sizes[0])
    return {**settings, "method": configuration["method"], "pattern": configuration["pattern"], SAMPLES: samples}
