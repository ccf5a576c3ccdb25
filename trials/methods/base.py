"""The contract of a method, whole: a `Method` is what is known before a trial, a `Run` is one trial of it.

`Method.configure` validates hyperparameters, `Method.start` makes a run from a trial's context (the frozen model, the
text, the pattern, the seed, the account of cost), and `Run.masks` returns the masks. A method without steps is done
when it is started; a learned one is asked to `step` as often as `Run.steps` says, and gives and takes its `state` so
that a trial resumes. Unlike an optimiser of optax, a run keeps its own state and is not differentiated through: the
loop, checkpoints, evaluation and records are the same for all methods and not their concern.

A whole method, which keeps the first N of every M inputs:

    >>> import torch
    >>> from nmlab.trials.masks.topn import topn
    >>> from nmlab.trials.methods.one_shot import OneShotRun
    >>> class Leading(Method):
    ...     name = "leading"
    ...     about = About("Keeps the first N of every M inputs.", paper="-", cost="nothing")
    ...
    ...     def start(self, context, config):
    ...         scores = {
    ...             layer.name: -torch.arange(layer.in_features).expand(layer.out_features, -1)
    ...             for layer in context.model.frozen.layers
    ...         }
    ...         return OneShotRun({name: topn(score, context.pattern) for name, score in scores.items()})
    >>> method = Leading()
    >>> run = method.start(context, method.configure({}))  # of a trial with the pattern 2:4
    >>> run.masks()["model.layers.0.mlp.up_proj"][0, :8].int().tolist()
    [1, 1, 0, 0, 1, 1, 0, 0]

docs/methods.md says how a method of another package is registered. `magnitude` is one short file, `susi` and
`maskpro` are learned ones; each names its paper in `About.paper`, and formulas cite it where they stand.

This module, and the module of each of nmlab's methods that holds its `Method`, load no torch: methods are listed, and
studies refused, within a second. What computes is imported in `start` and `needs`, and named in `imports`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from nmlab.trials.contract.lazy_names import lazy_names
from nmlab.trials.contract.metrics import Metric
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.values import Hyperparameters
from nmlab.trials.methods.hyperparameters import MethodConfig as MethodConfig
from nmlab.trials.methods.hyperparameters import default_from as default_from
from nmlab.trials.methods.hyperparameters import source_of_default as source_of_default
from nmlab.trials.methods.hyperparameters import validated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from nmlab.trials.context.trial_context import TrialContext as TrialContext
    from nmlab.trials.contract.sections import CalibrationSpec
    from nmlab.trials.models.needs import Needs, Shape

Arrays: TypeAlias = "Mapping[str, NDArray[np.generic]]"

__getattr__ = lazy_names(__name__, places={"TrialContext": "nmlab.trials.context.trial_context"})


@dataclass(frozen=True)
class About:
    """The description of a method that ``nmlab methods`` shows."""

    summary: str
    """What it does, in one line; then how it differs from the others."""
    paper: str
    """Authors, year and arXiv number; "-" where there is none."""
    cost: str
    """What it takes, in passes over the weights or the text."""
    patterns: str = "any N:M"


def _check_renamed(cls: type, renamed: Mapping[str, str]) -> None:
    """Raise ``TypeError`` for a subclass that still uses the earlier name of a method or attribute."""
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
        """Return everything that a later process needs to continue, besides configuration and seed.

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
    """The metrics it records besides the common ones; nmlab's own methods declare them in ``metrics.py``."""
    learned: ClassVar[bool] = False
    """Whether its runs take steps; one-shot methods are done when they are started."""
    depends_on_seed: ClassVar[bool] = False
    """Whether another seed gives another result; ``uses_seed`` says so of one configuration."""
    sparse: ClassVar[bool] = True
    """Whether it prunes at all; only the dense baseline does not."""
    reads_text: ClassVar[bool] = True
    """Whether it reads the calibration text; one that does not gives the same result for any number of samples."""
    measures_inputs: ClassVar[bool] = False
    """Whether it measures the inputs of every layer, block by block, which some layers of some models do not allow."""
    supports_pipeline_stages: ClassVar[bool] = False
    """Whether it runs on a model split into pipeline stages: it works layer by layer, and all-reduces its sums."""
    imports: ClassVar[tuple[str, ...]] = ()
    """The modules that ``start`` imports, by full name; a trial imports them before its clock runs."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        renamed = {"refuse": "unsupported_reason", "refuse_text": "unsupported_text_reason"}
        _check_renamed(cls, {**renamed, "shardable": "supports_pipeline_stages"})

    def unsupported_reason(self, pattern: Pattern, config: Any) -> str | None:
        """Return why this method cannot do ``pattern`` with ``config``, or None if it can."""
        return None

    def unsupported_text_reason(self, config: Any, *, minibatches: int) -> str | None:
        """Return why ``config`` does not fit a calibration text of ``minibatches`` minibatches, or None if it does."""
        return None

    def unsupported_calibration_reason(self, config: Any, calibration: CalibrationSpec) -> str | None:
        """Return why ``config`` does not fit a calibration text, or None if it does.

        By default it asks `unsupported_text_reason`; a method defines it where the number of minibatches is not enough.
        """
        return self.unsupported_text_reason(config, minibatches=calibration.minibatches)

    @abstractmethod
    def start(self, context: TrialContext, config: Any) -> Run:
        """Start a run; ``config`` is an instance of ``self.config``."""

    def saliency(self, context: TrialContext, config: Any) -> Mapping[str, Tensor]:
        """Return the scores, at least 0, whose N largest of every M this method keeps: float32 [out, in] by layer.

        A method may leave it out; learned methods that start from its saliency then get two values, from its mask.
        """
        raise NotImplementedError(f"{self.name} gives no saliency")

    def group_scores(self, context: TrialContext, config: Any) -> Mapping[str, Tensor]:
        """Return scores, at least 0, whose N largest of every M this method keeps: float32 [out, in] by layer.

        They are those of ``saliency``, if it gives any. A method whose scores compare the weights of one group but not
        those of two, such as sparsegpt, gives them here alone; first_order starts from them.
        """
        return self.saliency(context, config)

    def uses_seed(self, config: Any) -> bool:
        """Return whether another seed gives another result with ``config``: ``depends_on_seed``, if nothing else."""
        return self.depends_on_seed

    def needs(self, shape: Shape, config: Any) -> Needs | None:
        """Return what a trial will need, before anything is loaded; None where a method does not know."""
        from nmlab.trials.models.needs import Needs, one_shot_needs

        if not self.sparse:
            return Needs()
        return None if self.learned else one_shot_needs(shape)

    def configure(self, hyperparameters: Hyperparameters) -> MethodConfig:
        """Return hyperparameters as an instance of ``self.config``, with defaults for those that are not given.

        Raises ``ValueError`` that names the wrong one, its value and what was expected.
        """
        return validated(self.config, hyperparameters, method=self.name)
