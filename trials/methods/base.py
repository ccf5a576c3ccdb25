"""The interface of a method: a name, a configuration, and a run that turns a frozen model into an N:M mask."""

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
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.values import Scalar
from nmlab.trials.contract.wording import expectation
from nmlab.trials.models.needs import Needs, Shape, one_shot_needs

Arrays = Mapping[str, NDArray[np.generic]]

_DEFAULT_FROM = "default_from"


class MethodConfig(BaseModel):
    """The hyperparameters of a method; each field has a description and the source of its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def default_from(source: str) -> dict[str, JsonValue]:
    """Return the ``json_schema_extra`` of a ``MethodConfig`` field that records the source of its default."""
    return {_DEFAULT_FROM: source}


def source_of_default(field: FieldInfo) -> str:
    """Return the source of a hyperparameter's default, or "" where its field does not give it."""
    extra = field.json_schema_extra
    return str(extra.get(_DEFAULT_FROM, "")) if isinstance(extra, dict) else ""


@dataclass(frozen=True)
class About:
    """The description of a method that ``nmlab methods`` shows."""

    summary: str
    paper: str
    cost: str
    patterns: str = "any N:M"


def _check_renamed(cls: type, renamed: Mapping[str, str]) -> None:
    """Raise ``TypeError`` for a subclass that still overrides a method by its earlier name, which nothing calls."""
    for old, new in renamed.items():
        if old in vars(cls):
            raise TypeError(f"{cls.__name__}.{old} is called {new} now; rename it")


class Run(ABC):
    """One run of a method. One-shot methods have no steps: their masks are ready once the run is made."""

    steps: int = 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _check_renamed(cls, {"extras": "diagnostics"})

    def step(self, step: int) -> Mapping[str, float]:
        """Learn from one minibatch (``step`` counts from 0) and return the values to record, by metric name.

        Raises ``DivergedError`` when the run cannot recover.
        """
        raise AssertionError("a run without steps was asked to step")

    def observe(self) -> Mapping[str, float]:
        """Return values that are too expensive to compute at every step; called where a curve gets a point."""
        return {}

    @abstractmethod
    def masks(self) -> dict[str, Tensor]:
        """Return the hard mask of every prunable layer as it stands, boolean [out, in]; empty for the dense model."""

    def weights(self) -> Mapping[str, Tensor] | None:
        """Return new weights [out, in] by layer for a method that changes them, else None; masks apply to them."""
        return None

    def initial_masks(self) -> dict[str, Tensor] | None:
        """Return the hard masks that a learned run starts from, or None for a method that does not learn."""
        return None

    def diagnostics(self, cancelled: Callable[[], bool]) -> Mapping[str, Arrays] | None:
        """Return further arrays of a finished run, by the name of the ``.npz`` file that holds them.

        Called once, at the end, on every rank of a pipeline group; those of the leader are written. It may apply any
        masks to the model, and must leave masks, weights and state of the run unchanged. Its passes are counted in
        ``TrialContext.extra``. A long computation calls ``cancelled()`` in between and returns None if that is true; a
        trial that is resumed then, or after a crash, repeats it from the beginning.
        """
        return {}

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later process needs to continue, beside configuration and seed.

        It is written before the next step, so the tensors may be those that the run holds; copying them all would cost
        memory at every checkpoint.
        """
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from ``state``."""
        assert not state, "a run without state was given some"

    @property
    def state_bytes(self) -> int:
        """Bytes that the method itself holds, the frozen model and activations not included."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state().values())


class Method(ABC):
    """A method of finding masks; its folder holds the configuration, the pure maths and the run."""

    name: ClassVar[str]
    about: ClassVar[About]
    config: ClassVar[type[MethodConfig]] = MethodConfig
    metrics: ClassVar[tuple[Metric, ...]] = ()
    """The metrics it records beside the common ones; nmlab's own methods declare them in ``metrics.py``."""
    learned: ClassVar[bool] = False
    depends_on_seed: ClassVar[bool] = False
    sparse: ClassVar[bool] = True
    reads_text: ClassVar[bool] = True
    """Whether it reads the calibration text; one that does not gives the same result for any number of samples."""
    measures_inputs: ClassVar[bool] = False
    """Whether it measures the inputs of every layer, block by block, which some layers of some models do not allow."""
    shardable: ClassVar[bool] = False
    """Whether it supports pipeline stages: it works layer by layer, and all-reduces its sums."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _check_renamed(cls, {"refuse": "unsupported_reason", "refuse_text": "unsupported_text_reason"})

    def unsupported_reason(self, pattern: Pattern, config: Any) -> str | None:
        """Return why this method cannot do ``pattern`` with ``config``, or None if it can."""
        return None

    def unsupported_text_reason(self, config: Any, *, minibatches: int) -> str | None:
        """Return why ``config`` does not fit a calibration text of so many minibatches, or None if it does."""
        return None

    @abstractmethod
    def start(self, context: TrialContext, config: Any) -> Run:
        """Start a run; ``config`` is an instance of ``self.config``."""

    def needs(self, shape: Shape, config: Any) -> Needs | None:
        """Return what a trial will need, before anything is loaded; None where a method does not know."""
        if not self.sparse:
            return Needs()
        return None if self.learned else one_shot_needs(shape)

    def configure(self, hyperparameters: Mapping[str, Scalar]) -> MethodConfig:
        """Validate hyperparameters and return the configuration; raises ``ValueError`` naming the wrong one."""
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
            shown = f"{where} = {first['input']!r}: {expectation(first)}" if where else expectation(first)
            raise ValueError(f"{self.name}: {shown}") from error
