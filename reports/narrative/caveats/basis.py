"""Caveats on the basis of the numbers: a stopped search, the text of the choice, seeds, windows, costs, versions."""

from collections import Counter
from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.comparability import DECISIVE_VERSIONS
from nmlab.reports.analysis.configurations import Configuration, searched
from nmlab.reports.analysis.metrics import chosen_on, is_evaluated
from nmlab.reports.analysis.selection_bias import selection_bias_of
from nmlab.reports.read.typed_text import tag_json
from nmlab.reports.statistics.bootstrap import FEWEST_WINDOWS
from nmlab.reports.values import counted
from nmlab.trials.contract import run_tags

SECONDS = "cost/seconds"
CONFIRM = "With search.confirm the best run again on fresh seeds."
OPTIMISTIC = "its mean is optimistic"
OF_TEXT_ALONE = "fresh seeds do not show how much of its result this text alone makes"


def basis_caveats(analysis: Analysis) -> tuple[str, ...]:
    """Return the caveats on the search, selection, seeds, windows, costs, digests and versions.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    configurations = analysis.configurations
    found = [
        _search(analysis),
        _selection(configurations),
        _seeds(configurations),
        _windows(analysis),
        _costs(configurations),
    ]
    found += [*_digests(configurations), *_versions(configurations)]
    return tuple(text for text in found if text)


def _search(analysis: Analysis) -> str:
    """Return why the search stopped before it had tried everything, and what was not run; of each pooled launch."""
    runs = analysis.runs
    stopped = [launch for launch in runs.launches if launch.search_stopped]
    return " ".join(f"{f'In {each.name} the' if runs.pooled else 'The'} {each.search_stopped}." for each in stopped)


def _selection(configurations: Sequence[Configuration]) -> str:
    """Return the caveat that the mean of the best may be too good, for the text, the seeds or both selected it."""
    bias = selection_bias_of(configurations)
    if bias is None:
        return ""
    objective = configurations[0].objective
    best = f"best of {bias.tried} configurations was chosen {chosen_on(objective.reported, objective=objective)}"
    if not bias.of_text:
        return f"The {best} by the seeds that are reported: luck of these seeds is in its mean. {CONFIRM}"
    is_confirmed = any(item.is_confirmed for item in configurations)
    rest = OF_TEXT_ALONE if is_confirmed and not bias.of_seeds else OPTIMISTIC
    if not is_evaluated(objective.reported):
        return f"The {best} that is reported: {rest}."
    return f"Selected on the text it reports: the {best}; {rest}."


def _seeds(configurations: Sequence[Configuration]) -> str:
    moved = [item for item in searched(configurations) if item.depends_on_seed and len(item.finished)]
    if not moved or any(len(own.finished) > 1 for item in moved for own in (item, item.as_reported)):
        return ""
    return "Every trained configuration has only one finished seed: the variation between seeds is not known."


def _windows(analysis: Analysis) -> str:
    """Return that there are too few windows for a test; a missing evaluation is reported with the check."""
    check = analysis.check
    if check is None or check.windows >= FEWEST_WINDOWS:
        return ""
    return (
        f"The evaluation text has {counted(check.windows, noun='window')}; a test over windows needs at least "
        f"{FEWEST_WINDOWS}, so masks with one run each are not tested."
    )


def _costs(configurations: Sequence[Configuration]) -> str:
    runs = sum(len(item.every_trial) for item in configurations)
    known = sum(SECONDS in trial.metrics for item in configurations for trial in item.every_trial)
    if known == runs:
        return ""
    return f"The cost of {runs - known} of {counted(runs, noun='run')} is not known: totals leave them out."


def _digests(configurations: Sequence[Configuration]) -> list[str]:
    """Return how many runs did not record the digest of their model or data."""
    finished = [trial for item in configurations for trial in item.every_trial if trial.is_finished]
    digests = {"model": [trial.model_digest for trial in finished], "data": [trial.data_digest for trial in finished]}
    unknown = {noun: sum(not digest for digest in own) for noun, own in digests.items()}
    runs = counted(len(finished), noun="finished run")
    return [
        f"The digest of the {noun} is not recorded in {count} of {runs}." for noun, count in unknown.items() if count
    ]


def _versions(configurations: Sequence[Configuration]) -> list[str]:
    """Return the packages whose versions differ between finished runs; decisive ones make runs incomparable instead."""
    seen: dict[str, Counter[str]] = {}
    for item in configurations:
        for trial in (trial for trial in item.every_trial if trial.is_finished):
            versions = tag_json(trial.versions, tag=run_tags.VERSIONS, run_id=trial.run_id)
            for name, version in versions.items():
                seen.setdefault(name, Counter())[str(version)] += 1
    differing = {
        name: found for name, found in sorted(seen.items()) if len(found) > 1 and name not in DECISIVE_VERSIONS
    }
    return [f"Runs had different versions of {name}: {_counts(found)}." for name, found in differing.items()]


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{version} ({counted(number, noun='run')})" for version, number in sorted(found.items()))
