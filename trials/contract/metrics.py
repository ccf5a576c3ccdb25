"""The type of a metric, and the metrics that trials of every method record.

A metric is declared once: here those that the loop of a trial measures, in a method's ``metrics.py`` those that this
method alone records (`nmlab.trials.contract.declarations` finds the declaration of a name).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nmlab.trials.contract.measures import Direction, measure_of


class Phase(StrEnum):
    """When a metric is recorded."""

    CURVE = "curve"
    """Recorded at the points of the training curve."""
    START = "start"
    """Recorded once, before the first step: of the mask that learning starts from."""
    EVALUATION = "evaluation"
    """Recorded at every evaluation of the mask, during training and at the end."""
    END = "end"
    """Recorded once, with the end of the trial."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as recorded: ``family/name``, of a task ``eval/<task>/<measure>``.
        unit: such as ``nats``, ``s``, ``bytes``, ``perplexity``; empty where there is none.
        direction: which way it gets better, ``Direction.NONE`` where neither way is better.
        phase: when it is recorded.
        is_log: whether it is compared on the log scale, as ratios: perplexities, which are exponentials of a loss.
        is_counted: whether it is counted and not measured, so that every run of a configuration has the same value.
        task: the task that it is a measure of; empty where it is of none.
    """

    name: str
    unit: str = ""
    direction: Direction = Direction.NONE
    phase: Phase = Phase.CURVE
    is_log: bool = False
    is_counted: bool = False
    task: str = ""

    @property
    def family(self) -> str:
        """The first part of the name, such as ``train``, ``validation``, ``eval``, ``neutral`` or ``cost``."""
        return self.name.partition("/")[0]

    @property
    def label(self) -> str:
        """The name in words: ``token perplexity``, ``sample seconds``, ``train loss``."""
        label = self.name.partition("/")[2] if self.family in _LEFT_OUT else self.name
        if self.unit == "s" and label.endswith("_s"):
            label = f"{label.removesuffix('_s')} seconds"
        return label.replace("_", " ").replace("/", " ")


OBJECTIVE: Final = "objective"
"""The searched metric of a finished trial once more, for MLflow's pages, which sort by one metric. A trial that has not
finished has none, so it sorts behind those that have. Reports do not read it."""
BEST: Final = "best/"
"""How the metrics of a launch begin: the mean of the best configuration, as its report says."""
TRAIN, EVAL, INITIAL, VALIDATION = "train/", "eval/", "initial/", "validation/"
NEUTRAL: Final = "neutral/"
"""How metrics of texts neutral to the calibration text begin: ``neutral/<name>/perplexity``."""
PERPLEXITIES: Final = ("perplexity", "token_perplexity", "word_perplexity")
"""What is measured of every text: the first is one of the others, as ``data.evaluation.perplexity`` says."""
_LEFT_OUT = ("eval", "time", "memory", "cost")


def initial_name(metric: str) -> str:
    """Return the name under which a metric of the start is recorded.

    It is ``initial/x`` for ``eval/x`` and ``validation/x``, and ``initial/neutral/x`` for ``neutral/x``.
    """
    return INITIAL + metric.removeprefix(EVAL).removeprefix(VALIDATION)


def reported_name(metric: str) -> str:
    """Return the metric that reports what this one selects: ``eval/x`` for ``validation/x``, otherwise the same."""
    return EVAL + metric.removeprefix(VALIDATION) if metric.startswith(VALIDATION) else metric


def curve_name(metric: str, *, on_validation: bool = False) -> str:
    """Return the metric of whose curve a metric of the start is the first point.

    That of ``initial/x`` is ``eval/x``, or ``validation/x`` in a run whose configuration is chosen on validation text;
    that of ``initial/neutral/x`` is ``neutral/x``.
    """
    if metric.startswith(INITIAL + NEUTRAL):
        return metric.removeprefix(INITIAL)
    prefix = VALIDATION if on_validation else EVAL
    return prefix + metric.removeprefix(INITIAL) if metric.startswith(INITIAL) else metric


def task_metric(name: str) -> Metric | None:
    """Return the metric ``eval/<task>/<measure>``, None for a name of another form."""
    family, _, rest = name.partition("/")
    task, _, measure = rest.rpartition("/")
    if family != "eval" or not task or not measure:
        return None
    known = measure_of(measure)
    return Metric(name, known.unit, known.direction, Phase.END, is_log=known.is_log, task=task)


def neutral_prefix(text: str) -> str:
    """Return how the metrics of a neutral text begin: ``neutral/<name>/``."""
    return f"{NEUTRAL}{text}/"


def neutral_perplexity(text: str) -> str:
    """Return the metric that reports a neutral text: ``neutral/<name>/perplexity``."""
    return f"{neutral_prefix(text)}{PERPLEXITIES[0]}"


def neutral_metric(name: str) -> Metric | None:
    """Return the metric ``neutral/<text>/perplexity`` or its like, also of the start; None for another name."""
    own = name.removeprefix(INITIAL)
    family, _, rest = own.partition("/")
    text, _, measure = rest.partition("/")
    if f"{family}/" != NEUTRAL or not text or measure not in PERPLEXITIES:
        return None
    return _perplexity(name, Phase.END if own == name else Phase.START)


def text_of(metric: str) -> str:
    """Return the neutral text that a metric is of, or its start; "" for any other metric."""
    return "" if neutral_metric(metric) is None else metric.removeprefix(INITIAL).split("/")[1]


def _perplexity(name: str, phase: Phase) -> Metric:
    return Metric(name, "perplexity", Direction.LOWER, phase, is_log=True)


def _perplexities(prefix: str, phase: Phase) -> tuple[Metric, ...]:
    return tuple(_perplexity(f"{prefix}{name}", phase) for name in PERPLEXITIES)


def _bytes(*names: str, is_counted: bool) -> tuple[Metric, ...]:
    lower, end = Direction.LOWER, Phase.END
    return tuple(Metric(f"memory/{name}_bytes", "bytes", lower, end, is_counted=is_counted) for name in names)


def _seconds(*names: str) -> tuple[Metric, ...]:
    return tuple(Metric(f"time/{name}_s", "s", Direction.LOWER, Phase.END) for name in names)


def _bill(part: str, *, is_counted: bool) -> tuple[Metric, ...]:
    """Return the four sums of an account. What was spent depends on who computed first, and seconds are measured."""
    units = {"forwards": "passes", "backwards": "passes", "tokens": "tokens", "seconds": "s"}
    return tuple(
        Metric(f"cost/{part}{name}", unit, Direction.LOWER, Phase.END, is_counted=is_counted and unit != "s")
        for name, unit in units.items()
    )


COMMON: tuple[Metric, ...] = (
    Metric("train/loss", "nats", Direction.LOWER),
    Metric("train/mask_change", "share"),
    *_perplexities(INITIAL, Phase.START),
    *_perplexities(VALIDATION, Phase.EVALUATION),
    *_perplexities(EVAL, Phase.EVALUATION),
    *_bytes("weight", "masked_weight", "state", is_counted=True),
    *_bytes("learning_activation", "evaluation_activation", is_counted=True),
    *_bytes("peak", "load_peak", "start_peak", "learning_peak", "evaluation_peak", is_counted=False),
    *_seconds("sample", "patch", "forward", "update", "step"),
    *_bill("", is_counted=True),
    *_bill("initial_", is_counted=True),
    *_bill("extra_", is_counted=True),
    *_bill("spent_", is_counted=False),
    Metric("cost/trainable_params", "parameters", Direction.LOWER, Phase.END, is_counted=True),
)
"""What the loop of a trial records, whatever the method.

Apart are measures of tasks (``task_metric``) and perplexities of neutral texts (``neutral_metric``)."""
