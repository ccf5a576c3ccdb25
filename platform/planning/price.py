"""The trials, steps and tokens of a study, computed from its file alone, without model or machine."""

from collections.abc import Iterable
from dataclasses import dataclass

from nmlab.platform.planning.blame import telling_place
from nmlab.platform.planning.planned_confirmation import planned_confirmation
from nmlab.platform.planning.study_trials import baseline_specs, trial_spec
from nmlab.platform.search.initial_points import RandomDraw, configurations_tried
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import DefineByRun, grid_points
from nmlab.trials.contract.trial_spec import TrialSpec

_DRAWS = 64
"""Points of a space that are drawn for the average of steps and tokens; with more, only later digits change."""


@dataclass(frozen=True)
class Price:
    """The trials of a launch, the steps that its learned methods take, and the tokens that they read in them.

    Trials that confirm the search are counted too, as many as there may be.
    Every mask of a step reads the minibatch once, or the sequence that it is drawn for; a backward is not counted in
    addition to its forward, nor a forward of the dense model (``objective: distill``). For a search that draws its
    points, steps and tokens are the average over random points of its space.
    """

    trials: int
    steps: int
    tokens: int


def price_of(study: Study) -> Price:
    """Return the price of a study; raises ``ValueError`` for methods or settings that do not exist."""
    with telling_place(study):
        return _price(study)


def _price(study: Study) -> Price:
    baselines = baseline_specs(study)
    if study.search.algorithm == "grid":
        points = grid_points(study)
    else:
        space = DefineByRun(study)
        points = [space(RandomDraw(seed)) for seed in range(_DRAWS)]
    tried = configurations_tried(study) * len(study.seeds)
    if (confirmation := planned_confirmation(study, baselines)) is not None:
        seeds = len(confirmation.seeds)
        tried += confirmation.configurations * seeds
        baselines = [*baselines, *(spec for spec in confirmation.baselines for _ in range(seeds))]
    steps, tokens = _learned(baselines)
    own_steps, own_tokens = _learned(trial_spec(study, point, seed=study.seeds[0]) for point in points)
    each = tried / len(points)
    return Price(len(baselines) + tried, steps + round(each * own_steps), tokens + round(each * own_tokens))


def _learned(specs: Iterable[TrialSpec]) -> tuple[int, int]:
    steps = tokens = 0
    for spec in specs:
        own = int(spec.hyperparameters.get("steps") or 0)
        text = spec.calibration
        batch = min(text.batch_size, text.samples) * text.sequence_length
        steps += own
        tokens += own * batch * spec.readings_a_step
    return steps, tokens
