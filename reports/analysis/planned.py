"""The values that a study planned to run of every setting on a grid or in a choice, from its parameters."""

from collections.abc import Mapping, Sequence

from nmlab.reports.read.frame import Value
from nmlab.search_spaces.reading import study_yaml
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.trials.contract import run_params

KINDS = (".grid", ".choice")


def planned_values(params: Mapping[str, str]) -> dict[str, Sequence[Value]]:
    """Return the planned values by setting, as far as they are listed; a range of numbers lists none.

    Args:
        params: of the launch, such as ``space.alpha.grid: "[0.9, 0.99]"``.
    """
    found: dict[str, Sequence[Value]] = {}
    for name, text in params.items():
        kind = next((kind for kind in KINDS if name.endswith(kind)), None)
        if kind is not None:
            found[name.removesuffix(kind).removeprefix(run_params.SPACE)] = _values(text)
    return found


def _values(text: str) -> tuple[Value, ...]:
    """Return the values of a list that was written as text; empty for text that is cut off."""
    try:
        listed = study_yaml.parse(text, source="parameter")
    except StudyError:
        return ()
    return tuple(item for item in listed if isinstance(item, int | float | str)) if isinstance(listed, list) else ()
