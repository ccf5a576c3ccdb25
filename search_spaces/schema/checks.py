"""Rules on several sections of a study together; each yields one line for each problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from nmlab.search_spaces.schema.algorithms import ALGORITHMS, algorithms_where
from nmlab.search_spaces.schema.entries import Entry, ListedEntry
from nmlab.search_spaces.schema.sections import Budget, Data, Replica, Search
from nmlab.trials.contract.pattern import Pattern, expected_pattern
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.wording import shown

RESERVED = ("method", "pattern", "seed", "seeds")
"""Names of top-level keys of a study, which no hyperparameter can have."""


def pattern_problem(text: object) -> str:
    """Return what is wrong with a pattern, which a study writes as results name it; "" when nothing is."""
    try:
        return "" if str(Pattern.parse(text)) == text else expected_pattern(text)
    except ValueError:
        return expected_pattern(text)


def samples_problem(value: object) -> str:
    """Return what is wrong with a number of calibration sequences; "" when nothing is."""
    return "" if type(value) is int and value >= 1 else "expected a whole number, at least 1"


def patterns(pattern: str | ListedEntry) -> Iterator[str]:
    """Check every pattern of the study."""
    for path, value in _listed("pattern", pattern):
        text = pattern_problem(value)
        if text:
            yield f"{path} {shown(value)}: {text}"


def methods(method: str | ListedEntry) -> Iterator[str]:
    """Check that every method is a text; the platform checks that such a method exists."""
    for path, value in _listed("method", method):
        if not isinstance(value, str) or not value:
            yield f"{path} {shown(value)}: expected the name of a method, for example maskpro"


def _listed(name: str, value: str | ListedEntry) -> Iterable[tuple[str, object]]:
    if isinstance(value, str):
        return [(name, value)]
    return [(f"{name}.{value.kind}[{index}]", item) for index, item in enumerate(value.values)]


def names(fixed: Mapping[str, object], *, space: Mapping[str, object]) -> Iterator[str]:
    """Check that no hyperparameter is set twice, or has a reserved name."""
    for section, given in (("fixed", fixed), ("space", space)):
        for name in given:
            if name in RESERVED:
                key = "seeds" if name == "seed" else name
                yield f"{section}.{name}: {name!r} is no hyperparameter; expected at the top level, as {key}"
    for name in space:
        if name in fixed:
            yield f"space.{name}: {name!r} is also in fixed; expected in one of the two"


def algorithm(search: Search, *, entries: Mapping[str, Entry]) -> Iterator[str]:
    """Check that the entries, the number of samples and the algorithm fit together."""
    known = ALGORITHMS[search.algorithm]
    if known.no_conditions and (conditional := _conditional(entries)):
        yield f"search.algorithm {search.algorithm!r}: {conditional}; {known.no_conditions}"
    if search.startup is not None and not known.learns:
        learning = algorithms_where("learns")
        yield f"search.startup {search.startup!r}: expected null, because {search.algorithm} is not {learning}"
    if search.algorithm != "grid":
        if search.samples is None:
            yield f"search.samples null: {search.algorithm} needs a number of samples, for example 20"
        if not entries:
            yield f"search.algorithm {search.algorithm!r}: nothing to search; expected entries in space"
        if search.samples is not None and len(search.initial_points) > search.samples:
            given = f"search.initial_points: {len(search.initial_points)} points"
            yield f"{given}, but search.samples {search.samples}; expected no more"
        return
    if search.initial_points:
        yield "search.initial_points: expected none, because a grid visits every point"
    if search.samples is not None:
        yield f"search.samples {search.samples}: expected null, because a grid visits every point"
    for name, entry in entries.items():
        if not isinstance(entry, ListedEntry):
            yield f"space.{name}.{entry.kind}: expected grid or choice; a grid search needs listed values"


def _conditional(entries: Mapping[str, Entry]) -> str:
    """Return what makes names of a space conditional: several methods, or a condition; "" where nothing does."""
    if "method" in entries:
        return "several methods are searched"
    return next((f"space.{name} has a condition, when" for name, entry in entries.items() if entry.when), "")


def calibration(data: Data) -> Iterator[str]:
    """Check that numbers of samples are whole numbers, and that a batch is not larger than the largest of them."""
    samples = data.calibration.samples
    if isinstance(samples, ListedEntry):
        wrong = [
            f"{SAMPLES}.{samples.kind}[{index}] {shown(value)}: {text}"
            for index, value in enumerate(samples.values)
            if (text := samples_problem(value))
        ]
        if wrong:
            yield from wrong
            return
    texts = len(data.calibration.parts)
    if min(data.calibration.sizes) < texts:
        yield f"{SAMPLES} {min(data.calibration.sizes)}: expected at least {texts}, one of each text of the mixture"
    most = max(data.calibration.sizes)
    if data.calibration.batch_size > most:
        yield f"data.calibration.batch_size {data.calibration.batch_size}: expected at most the {most} samples"
    micro, batch = data.calibration.micro_batch, data.calibration.batch_size
    if micro is not None and micro > batch:
        yield f"data.calibration.micro_batch {micro}: expected at most the {batch} sequences of a minibatch"


def gpu_hours(budget: Budget, *, replica: Replica) -> Iterator[str]:
    """Check that replicas have GPUs where GPU hours are limited."""
    if budget.total is not None and budget.total.gpu_hours is not None and replica.resources.gpus == 0:
        yield f"budget.total.gpu_hours {budget.total.gpu_hours:g}: expected null, because replica.resources.gpus is 0"
