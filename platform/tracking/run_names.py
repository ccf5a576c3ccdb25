"""The names of runs in MLflow's pages: a trial is called by what varies in its study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.paper_names import SYMBOLS
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES, INITIAL_MASK
from nmlab.trials.contract.trial_spec import TrialSpec, without_later_defaults
from nmlab.trials.contract.values import Scalar

_FRESH = " (fresh)"
"""Behind what ran on fresh seeds, which confirm a search."""
_OWN_NAMES = {CALIBRATION_SAMPLES: "samples", **SYMBOLS}


@dataclass(frozen=True)
class RunNames:
    """Puts the configurations of a study into words, such as ``maskpro alpha=0.97 C=5 wanda``.

    Attributes:
        varying: the settings that the words give, where a trial has them.
        of_baselines: for a method, the settings in which the study's baselines of it differ.
        has_patterns: whether trials differ in their pattern.
    """

    varying: Sequence[str] = ()
    of_baselines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    has_patterns: bool = False

    @classmethod
    def of_studies(cls, studies: Iterable[Study], *, baselines: Iterable[TrialSpec] = ()) -> "RunNames":
        """Return the names for a launch: all versions of its study, and its baselines."""
        versions = list(studies)
        patterns = {pattern for study in versions for pattern in study.patterns}
        searched = dict.fromkeys(name for study in versions for name in study.searched)
        return cls(tuple(searched), _differing(baselines), has_patterns=len(patterns) > 1)

    def words(self, spec: TrialSpec, *, is_confirmation: bool = False) -> str:
        """Return a configuration in words: all its seeds share them, and those of its confirmation have others."""
        given_ones = without_later_defaults(spec.hyperparameters, method=spec.method)
        settings = spec.model_copy(update={"hyperparameters": given_ones}).flat()
        names = dict.fromkeys([*self.varying, *self.of_baselines.get(spec.method, ())])
        given = [_in_words(name, settings[name]) for name in names if name in settings]
        pattern = [spec.pattern] if self.has_patterns else []
        return " ".join([spec.method, *pattern, *given]) + (_FRESH if is_confirmation else "")


def run_name(words: str, *, seed: int) -> str:
    """Return the name of a run from the words of its configuration; the seed comes before what a page may cut off."""
    settings = words.removesuffix(_FRESH)
    return f"{settings}, seed {seed}{_FRESH if settings != words else ''}"


def without_confirmation(text: str) -> str:
    """Return the words of a configuration, or a run's name, where its seed is no longer that of a confirmation."""
    return text.removesuffix(_FRESH)


def _in_words(name: str, value: Scalar) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if name == INITIAL_MASK else f"{_OWN_NAMES.get(name, name)}={text}"


def _differing(baselines: Iterable[TrialSpec]) -> dict[str, list[str]]:
    """Return for each method the hyperparameters in which its baselines differ."""
    own: dict[str, list[Mapping[str, Scalar]]] = {}
    for spec in baselines:
        own.setdefault(spec.method, []).append(spec.hyperparameters)
    return {method: _with_several_values(settings) for method, settings in own.items()}


def _with_several_values(settings: Sequence[Mapping[str, Scalar]]) -> list[str]:
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if len({each.get(name) for each in settings}) > 1]
