"""What the confirmation of a study will run, as far as it is known before its search has ended."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nmlab.platform.search.confirmation import fresh_seeds
from nmlab.platform.search.initial_points import configurations_tried
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import grid_points
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods import registry


@dataclass(frozen=True)
class PlannedConfirmation:
    """The trials that will confirm a search.

    Attributes:
        seeds: of every configuration.
        configurations: how many of the search are chosen, at most: those that do not finish on all seeds are not.
        tried: how many the search tries.
        baselines: the trial with the first of ``seeds`` of each baseline that uses random numbers; others would repeat
            their result.
    """

    seeds: tuple[int, ...]
    configurations: int
    tried: int
    baselines: tuple[TrialSpec, ...]

    @property
    def trials(self) -> int:
        """The number of trials, at most."""
        return (self.configurations + len(self.baselines)) * len(self.seeds)

    def describe(self) -> str:
        """Return what is confirmed in one line."""
        best = f"the best {self.configurations} of {_counted(self.tried, 'configuration')}"
        if self.configurations == self.tried:
            best = "the only configuration" if self.tried == 1 else f"all {self.tried} configurations"
        beside = f" and {_counted(len(self.baselines), 'baseline')}" if self.baselines else ""
        return f"{best}{beside} on the fresh seeds {', '.join(map(str, self.seeds))}: at most {self.trials} trials"


def planned_confirmation(
    study: Study, baselines: Iterable[TrialSpec], *, earlier: Sequence[Study] = ()
) -> PlannedConfirmation | None:
    """Return the confirmation that a study asks for, None without one.

    Args:
        study: the study.
        baselines: its trials of its baselines.
        earlier: the earlier versions of the study of a launch, oldest first; their fresh seeds are used again.
    """
    if study.search.confirm is None:
        return None
    seeds = planned_fresh_seeds((*earlier, study))
    random = {spec.configuration: spec for spec in baselines if registry.uses_seed(spec.method, spec.hyperparameters)}
    tried, top = configurations_tried(study), study.search.confirm.top
    return PlannedConfirmation(
        seeds=seeds,
        configurations=min(tried, sum(min(top, most) for most in _most_of_each_pattern(study, tried))),
        tried=tried,
        baselines=tuple(spec.model_copy(update={"seed": seeds[0]}) for spec in random.values()),
    )


def planned_fresh_seeds(versions: Iterable[Study]) -> tuple[int, ...]:
    """Return the seeds of the confirmation that the newest version of a study asks for, given all, oldest first."""
    seeds: tuple[int, ...] = ()
    for study in versions:
        number = 0 if study.search.confirm is None else study.search.confirm.seeds
        seeds = fresh_seeds(study.seeds, number=number, earlier=seeds)
    return seeds


def _most_of_each_pattern(study: Study, tried: int) -> Iterable[int]:
    """Return how many configurations the search tries of each pattern, at most."""
    if study.search.algorithm == "grid":
        return Counter(point["pattern"] for point in grid_points(study)).values()
    return [tried] * len(study.patterns)


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
