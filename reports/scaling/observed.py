"""Reads model sizes from studies: the MaskPro configurations with logit magnitude, learning rate and steps."""

import math
from collections.abc import Sequence

from nmlab.reports.analysis.compared_studies import read_studies
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore
from nmlab.reports.scaling.evidence import FEWEST_MAGNITUDES, FEWEST_RATES, ModelSize, Tried
from nmlab.trials.contract import run_params
from nmlab.trials.contract.pattern import Pattern

METHOD = "maskpro"
WEIGHTS = "cost/trainable_params"
SETTINGS = {"magnitude": "logit_magnitude", "learning_rate": "learning_rate", "steps": "steps"}
# The laws are of the paper's form. What is ours moves logits by other amounts, and is left out.
_PAPER_FORM = {"initial_logits": "constant", "mask_per": "batch", "learning_rate_schedule": "constant"}
Key = tuple[str, int, int, int]


def sizes_of(store: RunStore, *, studies: Sequence[str]) -> tuple[ModelSize, ...]:
    """Return the model sizes that these studies ran MaskPro on, smallest first.

    Args:
        store: an opened store.
        studies: names of studies, each with ``@launch`` where not the newest launch is meant.

    Raises:
        ReportError: an unknown study, or a size with too few settings tried.
    """
    found: dict[Key, list[Tried]] = {}
    named: dict[Key, dict[str, None]] = {}
    members = [member for study in read_studies(store, studies=studies) for member in study.members]
    for member in members:
        tried = _tried(member.item) if member.item.method == METHOD and not member.item.is_baseline else None
        if tried is not None:
            key = _key(member.item)
            found.setdefault(key, []).append(tried)
            named.setdefault(key, {})[member.study] = None
    if not found:
        raise ReportError(
            f"no finished run of {METHOD} with {WEIGHTS} and an evaluated initial mask in {', '.join(studies)}; "
            "run one with: nmlab sweep maskpro-logit-magnitude"
        )
    sizes = [
        ModelSize(model, groups, n, m, tuple(found[key]), tuple(named[key]))
        for key in sorted(found, key=lambda key: (key[1], key))
        for model, groups, n, m in [key]
    ]
    for size in sizes:
        _refuse_few(size)
    return tuple(sizes)


def _tried(item: Configuration) -> Tried | None:
    """Return a configuration with the change of each seed from its own initial mask.

    None where there is none, and for a configuration that is not of the paper's form.
    """
    if any(item.settings.get(name, value) != value for name, value in _PAPER_FORM.items()):
        return None
    values = [item.settings.get(name) for name in SETTINGS.values()]
    metric = item.objective.metric
    if not all(isinstance(value, int | float) for value in values) or not item.is_learned:
        return None
    found = [
        (trial.metric(metric), trial.metric(item.objective.initial), trial.metric(WEIGHTS)) for trial in item.finished
    ]
    kept = [(after, before) for after, before, weights in found if math.isfinite(before) and weights > 0]
    if not kept:
        return None
    sign = 1.0 if item.objective.mode == "min" else -1.0
    changes = tuple(sign * _change(after, before, metric) for after, before in kept)
    magnitude, rate, steps = (float(str(value)) for value in values)
    return Tried(magnitude, rate, int(steps), changes, tuple(trial.run_id for trial in item.finished))


def _change(after: float, before: float, metric: str) -> float:
    return math.log(after / before) if is_compared_by_ratio(metric) else after - before


def _key(item: Configuration) -> Key:
    pattern = Pattern.parse(item.pattern)
    weights = int(item.finished[0].metric(WEIGHTS))
    return (str(item.settings.get(run_params.MODEL_SOURCE, "unknown")), weights // pattern.m, pattern.n, pattern.m)


def _refuse_few(size: ModelSize) -> None:
    """Refuse a size with too few values tried; the message has the command to run."""
    wanted = {"magnitude": (FEWEST_MAGNITUDES, "[3.0, 4.0, 5.0]"), "learning_rate": (FEWEST_RATES, "[0.3, 1.0, 3.0]")}
    for name, (fewest, example) in wanted.items():
        values = size.values(name)
        if len(values) < fewest:
            shown = ", ".join(f"{value:g}" for value in values)
            raise ReportError(
                f"{size.model} with {size.groups:,} groups was run with {len(values)} value(s) of {SETTINGS[name]} "
                f"({shown}) but needs at least {fewest}; run: nmlab sweep {size.studies[0]} "
                f"--set space.{SETTINGS[name]}.grid='{example}'"
            )
