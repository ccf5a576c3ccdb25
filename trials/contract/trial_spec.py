"""One trial as a serialisable value: what is run, on which model and text, for how long, and the key that it gets.

The key digests what `TrialSpec._identity` returns. It names a trial's folder, its MLflow run and its checkpoints.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping

from pydantic import Field

from nmlab.trials.contract.sections import (
    CalibrationSpec,
    EvaluationSpec,
    HeldOutText,
    Intervals,
    ModelSource,
    NeutralSpec,
    Section,
    TrialBudget,
    ValidationSpec,
)
from nmlab.trials.contract.values import Scalar, later_field

# Trial keys are kept for good: they digest the names of all fields. A field or hyperparameter that is added later
# therefore stands here with its default, and is left out of the digest while it has that value; the default must be
# what a trial did before the field existed. Add a line for each: "SECTION.FIELD" with the section model, calibration,
# evaluation or budget, "FIELD" for one of the trial itself, "hyperparameters.METHOD.NAME" for a method's. A field
# made by `later_field` is not written down either while it is null: records are then the same bytes as before.
ADDED_LATER: dict[str, object] = {
    "model.leave_dense": (),
    "calibration.part": None,
    "validation": None,
    "neutral": None,
    "hyperparameters.susi.exclude_argmax": False,
    "hyperparameters.susi.initial_logits": "random",
    "hyperparameters.susi.initial_mask": "none",
    "hyperparameters.susi.initial_spread": 1.0,
    "hyperparameters.maskllm.initial_logits": "random",
}


def without_later_defaults(hyperparameters: Mapping[str, Scalar], *, method: str) -> dict[str, Scalar]:
    """Return hyperparameters as trial keys see them: those that were added later are left out at their defaults."""
    prefix = f"hyperparameters.{method}."
    later = {path.removeprefix(prefix): value for path, value in ADDED_LATER.items() if path.startswith(prefix)}
    return {
        name: value
        for name, value in hyperparameters.items()
        if name not in later or value != later[name] or type(value) is not type(later[name])
    }


def flat_settings(tree: Mapping[str, object], prefix: str = "") -> dict[str, Scalar]:
    """Return settings under dotted names, as MLflow has them: no nulls, names joined by commas, no empty list.

    The texts of a mixture stand under the names of their own settings, joined likewise.
    """
    flat: dict[str, Scalar] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{name}.")
        elif isinstance(value, tuple | list) and any(isinstance(item, Mapping) for item in value):
            flat |= flat_settings(joined(value), prefix)
        elif isinstance(value, tuple | list):
            flat |= {f"{prefix}{name}": ", ".join(map(str, value))} if value else {}
        elif value is not None:
            assert isinstance(value, bool | int | float | str), f"{prefix}{name} is no setting"
            flat[f"{prefix}{name}"] = value
    return flat


def joined(parts: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Return each setting of the texts of a mixture, joined by commas; a setting that no text has is left out."""
    every = list(parts)
    names = dict.fromkeys(name for part in every for name, value in part.items() if value is not None)
    return {name: ", ".join(_shown(part.get(name)) for part in every) for name in names}


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)


def by_name(neutral: Iterable[NeutralSpec]) -> dict[str, dict[str, object]]:
    """Return the settings of neutral texts by the name of the text, as parameters of runs have them."""
    return {text.name: text.model_dump(exclude={"name"}) for text in neutral}


class TrialSpec(Section):
    """One configuration of one method with one seed."""

    method: str
    pattern: str
    seed: int = Field(ge=0)
    hyperparameters: dict[str, Scalar] = Field(default_factory=dict)
    model: ModelSource
    calibration: CalibrationSpec
    evaluation: EvaluationSpec
    validation: ValidationSpec | None = later_field()
    """The text on which configurations are chosen; null chooses them on the evaluation text."""
    neutral: tuple[NeutralSpec, ...] | None = later_field()
    """Texts neutral to the calibration text, on which the finished mask is measured too; null for none."""
    budget: TrialBudget = TrialBudget()
    cadence: Intervals = Intervals()
    """The study's `intervals`, under the name that records have always had."""

    @property
    def key(self) -> str:
        """16 hexadecimal digits over all that a result depends on, the seed included; ``_identity`` says what."""
        return _digest(self._identity(), size=8)

    @property
    def configuration(self) -> str:
        """8 hexadecimal digits over the same without the seed, shared by all seeds of one configuration."""
        return _digest({name: value for name, value in self._identity().items() if name != "seed"}, size=4)

    @property
    def can_halve_batches(self) -> bool:
        """Whether half as many sequences could go through the model at once, as a retry after out of memory does."""
        held_out = [text.batch_size for text in self.held_out]
        return max(self.calibration.at_once, *held_out) > 1

    @property
    def held_out(self) -> tuple[HeldOutText, ...]:
        """The texts that no mask learns from: of the evaluation, of the validation, and neutral ones."""
        chosen_on = () if self.validation is None else (self.validation,)
        return (self.evaluation, *chosen_on, *(self.neutral or ()))

    def flat(self) -> dict[str, Scalar]:
        """Return every setting under a dotted name; hyperparameters stand by their own names."""
        texts = {"calibration", "evaluation", "validation"}
        body = self.model_dump(exclude={"hyperparameters", "cadence", "neutral", *texts})
        data = {**self.model_dump(include=texts), "neutral": by_name(self.neutral or ())}
        if self.calibration.is_mixture:
            data["calibration"]["windows"] = self.calibration.window_counts
        return {**flat_settings({**body, "data": data}), **self.hyperparameters}

    def _identity(self) -> dict[str, object]:
        """Return everything that a result depends on, rounding apart, without later fields at their defaults."""
        identity = self.model_dump(exclude={"cadence": True, "calibration": {"micro_batch"}})
        for path, default in ADDED_LATER.items():
            _leave_out(identity, path, default, method=self.method)
        return identity


def _leave_out(identity: dict[str, object], path: str, default: object, *, method: str) -> None:
    """Take a field of ``ADDED_LATER`` out of an identity where it has its default."""
    *section, name = path.split(".")
    if section[:1] == ["hyperparameters"]:
        if section[1] != method:
            return
        section = ["hyperparameters"]
    held = identity[section[0]] if section else identity
    assert isinstance(held, dict), f"{path} names no section of a trial"
    if name in held and held[name] == default and type(held[name]) is type(default):
        del held[name]


def _digest(value: Mapping[str, object], *, size: int) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
