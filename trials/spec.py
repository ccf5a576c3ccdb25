"""The specification of a trial as a serialisable value: method, model, texts, limits, and its key."""

import hashlib
import json
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from nmlab.trials.models.sources import ModelSource

Scalar = bool | int | float | str | None

# Trial keys are kept for good: they digest the names of all fields. A field or hyperparameter that is added later
# therefore stands here with its default, and is left out of the digest while it has that value; the default must be
# what a trial did before the field existed. Add a line for each: "SECTION.FIELD" with the section model, calibration,
# evaluation or budget, "FIELD" for one of the trial itself, "hyperparameters.METHOD.NAME" for a method's.
ADDED_LATER: dict[str, Any] = {
    "model.leave_dense": (),
}
Windowing = Literal["joined", "rolling"]
WINDOWINGS: tuple[str, ...] = get_args(Windowing)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationSpec(_Value):
    """The text that methods learn from: ``samples`` windows of ``sequence_length`` tokens in fixed minibatches.

    ``micro_batch`` sequences of a minibatch go through the model at once, null all of them; it changes rounding only.
    """

    source: str
    samples: PositiveInt = 128
    sequence_length: int = Field(default=128, gt=1)
    batch_size: PositiveInt = 32
    micro_batch: PositiveInt | None = None
    split: str | None = None
    column: str | None = None
    seed: int = 0

    @property
    def at_once(self) -> int:
        """The sequences of a minibatch that go through the model at once."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def minibatches(self) -> int:
        """How many minibatches the windows make; the last one may be smaller."""
        return -(-self.samples // self.batch_size)


class EvaluationSpec(_Value):
    """The held-out text: windows of ``sequence_length`` predicted tokens, at most ``windows`` of them; and the tasks.

    ``few_shot`` null leaves the number of worked examples to each task; ``questions`` limits a task to its first ones.
    """

    source: str
    windowing: Windowing = "joined"
    sequence_length: PositiveInt = 128
    windows: PositiveInt | None = None
    batch_size: PositiveInt = 32
    split: str | None = None
    column: str | None = None
    perplexity: str = Field(default="token", pattern="^(token|word)$")
    tasks: tuple[str, ...] = ()
    few_shot: int | None = Field(default=None, ge=0)
    questions: PositiveInt | None = None


class Cadence(_Value):
    """How often a trial logs, evaluates and saves, in steps; it changes no result.

    ``log_every`` null gives about 200 points a curve.
    """

    log_every: PositiveInt | None = None
    evaluate_every: PositiveInt | None = None
    checkpoint_every: PositiveInt = 500


class Budget(_Value):
    """Limits at which any method stops learning: tokens read, forward passes, or seconds."""

    tokens: PositiveInt | None = None
    forwards: PositiveInt | None = None
    seconds: float | None = Field(default=None, gt=0)


class TrialSpec(_Value):
    """One configuration of one method with one seed."""

    method: str
    pattern: str
    seed: int = Field(ge=0)
    hyperparameters: dict[str, Scalar] = {}
    model: ModelSource
    calibration: CalibrationSpec
    evaluation: EvaluationSpec
    budget: Budget = Budget()
    cadence: Cadence = Cadence()

    @property
    def key(self) -> str:
        """The trial key: 16 hexadecimal digits of everything that a result depends on."""
        return _digest(self._identity(), size=8)

    @property
    def configuration(self) -> str:
        """The configuration: 8 hexadecimal digits shared by all of its seeds."""
        return _digest({name: value for name, value in self._identity().items() if name != "seed"}, size=4)

    @property
    def batches_can_be_halved(self) -> bool:
        """Whether fewer sequences could go through the model at once."""
        return max(self.calibration.at_once, self.evaluation.batch_size) > 1

    def flat(self) -> dict[str, Scalar]:
        """Return every setting under a dotted name; hyperparameters have their own names."""
        body = self.model_dump(exclude={"hyperparameters", "cadence", "calibration", "evaluation"}, exclude_none=True)
        data = self.model_dump(include={"calibration", "evaluation"}, exclude_none=True)
        return {**_flatten(body), **_flatten({"data": data}), **self.hyperparameters}

    def _identity(self) -> dict[str, Any]:
        """Return everything that a result depends on, rounding apart, without later fields at their defaults."""
        identity = self.model_dump(exclude={"cadence": True, "calibration": {"micro_batch"}})
        for path, default in ADDED_LATER.items():
            _leave_out(identity, path, default, method=self.method)
        return identity


def _leave_out(identity: dict[str, Any], path: str, default: Any, *, method: str) -> None:
    """Remove a field of ``ADDED_LATER`` from an identity where it has its default."""
    *section, name = path.split(".")
    if section[:1] == ["hyperparameters"]:
        if section[1] != method:
            return
        section = ["hyperparameters"]
    held = identity[section[0]] if section else identity
    if name in held and held[name] == default and type(held[name]) is type(default):
        del held[name]


def _digest(value: dict[str, Any], *, size: int) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=vars)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Scalar]:
    flat: dict[str, Scalar] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        elif value != ():  # no tasks is no setting
            flat[f"{prefix}{name}"] = ", ".join(value) if isinstance(value, tuple) else value
    return flat
