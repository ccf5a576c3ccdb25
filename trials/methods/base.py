"""What a method promises: a name, a configuration, and a run that turns a frozen model into an N:M mask."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic.fields import FieldInfo
from torch import Tensor

from nmlab.trials.context.trial_context import TrialContext as TrialContext
from nmlab.trials.contract.metrics import Metric
from nmlab.trials.models.needs import Needs, Shape, one_shot_needs
from nmlab.trials.names import unknown_name
from nmlab.trials.pattern import Pattern
from nmlab.trials.spec import Scalar

Arrays = Mapping[str, NDArray[np.generic]]

_DEFAULT_FROM = "default_from"


class MethodConfig(BaseModel):
    """The hyperparameters of a method; each field says in its description what it does, and whence its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def default_from(source: str) -> dict[str, JsonValue]:
    """Return what a field of a ``MethodConfig`` keeps as ``json_schema_extra`` to say where its default comes from."""
    return {_DEFAULT_FROM: source}


def source_of_default(field: FieldInfo) -> str:
    """Return where a hyperparameter's default comes from, or "" where its field does not say."""
    extra = field.json_schema_extra
    return str(extra.get(_DEFAULT_FROM, "")) if isinstance(extra, dict) else ""


@dataclass(frozen=True)
class About:
    """What ``nmlab methods`` says of a method."""

    summary: str
    paper: str
    cost: str
    patterns: str = "any N:M"


class Run(ABC):
    """One run of a method. One-shot methods have no steps: their masks are ready once the run is made."""

    steps: int = 0

    def step(self, step: int) -> Mapping[str, float]:
        """Learn from one minibatch (``step`` counts from 0) and return what is worth recording of it.

        Raises ``DivergedError`` when going on makes no sense.
        """
        raise AssertionError("a run without steps was asked to step")

    def observe(self) -> Mapping[str, float]:
        """Return what is too dear to compute at every step; called where a curve gets a point."""
        return {}

    @abstractmethod
    def masks(self) -> dict[str, Tensor]:
        """Return the hard mask of every prunable layer as it stands, boolean [out, in]; empty for the dense model."""

    def weights(self) -> Mapping[str, Tensor] | None:
        """Return new weights [out, in] by layer for a method that changes them, else None; masks apply to them."""
        return None

    def initial_masks(self) -> dict[str, Tensor] | None:
        """Return the hard masks a learned run starts from, or None for a method that learns nothing."""
        return None

    def diagnostics(self, cancelled: Callable[[], bool]) -> Mapping[str, Arrays] | None:
        """Return what else a finished run leaves: arrays, by the name of the ``.npz`` file they go into.

        Called once, at the very end, by every member of a crew; the leader's are written. It may dress the model in
        whatever it likes, and must leave masks, weights and state as they are. Its passes are counted in
        ``Setting.extra``. Where it takes long it asks ``cancelled()`` in between, and returns None if it is; a trial
        that is resumed then, or after a crash, does it all again.
        """
        return {}

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later process needs to go on, beside configuration and seed.

        It is written down before the next step, so the tensors may be those that the run holds: a copy of them all
        would be paid for in memory at every checkpoint.
        """
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from ``state``."""
        assert not state, "a run without state was given some"

    @property
    def state_bytes(self) -> int:
        """Bytes of what the method itself holds, the frozen model and activations apart."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state().values())


class Method(ABC):
    """A method of finding masks. Its folder holds the configuration, the pure maths and the run."""

    name: ClassVar[str]
    about: ClassVar[About]
    config: ClassVar[type[MethodConfig]] = MethodConfig
    metrics: ClassVar[tuple[Metric, ...]] = ()
    """What it records beside the common metrics; of nmlab's own methods ``METRICS`` of ``metrics.py`` in its folder."""
    learned: ClassVar[bool] = False
    depends_on_seed: ClassVar[bool] = False
    sparse: ClassVar[bool] = True
    reads_text: ClassVar[bool] = True
    """Whether it looks at the calibration text; one that does not gives one result for any number of samples."""
    measures_inputs: ClassVar[bool] = False
    """Whether it measures the inputs of every layer, block by block; some layers of some models have none to see."""
    shardable: ClassVar[bool] = False
    """Whether it works on one stage of a model together with others: layer by layer, with sums told to all."""

    def unsupported_reason(self, pattern: Pattern, config: Any) -> str | None:
        """Return why this method cannot do ``pattern`` with ``config``, or None if it can."""
        return None

    def unsupported_text_reason(self, config: Any, *, minibatches: int) -> str | None:
        """Return why ``config`` asks too much of a calibration text of so many minibatches, or None if it does not."""
        return None

    @abstractmethod
    def start(self, context: TrialContext, config: Any) -> Run:
        """Begin a run; ``config`` is an instance of ``self.config``."""

    def needs(self, shape: Shape, config: Any) -> Needs | None:
        """Return what a trial is going to need, before anything is loaded; None where a method does not say."""
        if not self.sparse:
            return Needs()
        return None if self.learned else one_shot_needs(shape)

    def configure(self, hyperparameters: Mapping[str, Scalar]) -> MethodConfig:
        """Validate hyperparameters; raises ``ValueError`` with one line that names the wrong one."""
        known = self.config.model_fields
        for name in hyperparameters:
            if name not in known:
                kind = f"hyperparameter of {self.name}"
                raise ValueError(
                    unknown_name(name, kind=kind, known=known) if known else f"{self.name} takes no {name!r}"
                )
        try:
            return self.config.model_validate(dict(hyperparameters))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            shown = f"{where} = {first['input']!r}: {message}" if where else message
            raise ValueError(f"{self.name}: {shown}") from error
