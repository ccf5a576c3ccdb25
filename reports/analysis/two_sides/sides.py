"""The two sides of a comparison: what each is called, and whether they were evaluated alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.comparability import Difference, differences, evaluated_runs
from nmlab.reports.analysis.compared_studies import ComparedStudy
from nmlab.reports.analysis.two_sides.matching import MatchedPair
from nmlab.trials.contract import run_params

LETTERS = ("A", "B")
LONGEST_LABEL = 40

_DATA_DIGEST = "the digest of the data"
_NAMES_OF_MODEL = (run_params.MODEL_SOURCE, f"{run_params.MODEL}revision")
_NOT_EVALUATED_ON = (run_params.CALIBRATION, run_params.VALIDATION)


@dataclass(frozen=True, slots=True)
class Unlike:
    """How the compared runs were evaluated otherwise: what their numbers may depend on, and what is only noted."""

    decisive: tuple[Difference, ...]
    noted: tuple[Difference, ...]


def labels_of(sides: tuple[ComparedStudy, ComparedStudy]) -> tuple[str, str]:
    """Return what tells the sides apart: the selectors, the launches or the studies; "" where nothing short does."""
    first, second = sides
    launches = [tuple(launch.run_id for launch in side.runs.launches) for side in sides]
    if launches[0] == launches[1]:
        found = [side.selector or "all" for side in sides]
    elif first.runs.study == second.runs.study:
        found = [_launch_label(side) for side in sides]
    else:
        found = [side.runs.study + (f":{side.selector}" if side.selector else "") for side in sides]
    if found[0] == found[1] or max(map(len, found)) > LONGEST_LABEL:
        return ("", "")
    return (found[0], found[1])


def _launch_label(side: ComparedStudy) -> str:
    names = ", ".join(launch.name.removeprefix(f"{side.runs.study}-") for launch in side.runs.launches)
    return names + (f":{side.selector}" if side.selector else "")


def titles_of(labels: tuple[str, str]) -> tuple[str, str]:
    """Return ``A: maskpro`` and ``B: susi``, or the letters alone."""
    first, second = (f"{letter}: {label}" if label else letter for letter, label in zip(LETTERS, labels, strict=True))
    return (first, second)


def unlike(
    sides: tuple[ComparedStudy, ComparedStudy], *, pairs: Sequence[MatchedPair], metrics: Sequence[str]
) -> Unlike:
    """Return the facts of the evaluation in which the compared runs differ.

    Versions are noted and not decisive: two versions may be what is compared. So is another name of a model with the
    same digest. The digest of the texts is of all texts together, so it is noted where calibration or validation text
    differ by their settings.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    runs = [
        run
        for place, letter in enumerate(LETTERS)
        for pair in pairs
        for run in evaluated_runs(pair.sides[place], study=letter)
    ]
    found = differences(runs, metrics=metrics)
    facts = {name for run in runs for name in run.facts}
    same_model = "the digest of the model" in facts - {item.name for item in found}
    noted = {name for name in _NAMES_OF_MODEL if same_model}
    if _have_other_texts(sides):
        noted.add(_DATA_DIGEST)
    decisive = tuple(item for item in found if item.name not in noted and not item.name.startswith("the version of"))
    return Unlike(decisive, tuple(item for item in found if item not in decisive))


def _have_other_texts(sides: tuple[ComparedStudy, ComparedStudy]) -> bool:
    """Return whether the sides read other texts than that of the evaluation with other settings."""
    first, second = (
        {
            (name, value)
            for launch in side.runs.launches
            for name, value in launch.params.items()
            if name.startswith(_NOT_EVALUATED_ON)
        }
        for side in sides
    )
    return first != second
