"""What a run of a method is given: the model, the text, the seed, and the account of its cost."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.measure.cost import Bill, Cost, Priced
from nmlab.trials.models import MaskedModel
from nmlab.trials.parallel.mask_parallel import MaskEvaluators, SingleEvaluator

T = TypeVar("T")


@dataclass(eq=False)
class TrialContext:
    """The environment of one run of a method: replica context, masked model, pattern, calibration text, seed, cost."""

    replica: ReplicaContext
    model: MaskedModel
    pattern: Pattern
    calibration: CalibrationSpec
    seed: int
    cost: Cost = field(default_factory=Cost)
    extra: Cost = field(default_factory=Cost)
    """What the diagnostics of the finished run cost (``Run.diagnostics``); not part of the cost of the method."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the result must know besides its numbers, a line each; part of the trial's record."""
    started_from: dict[str, JsonObject] = field(default_factory=dict)
    """The masks that the trial started from, by digest: as plain JSON what each is, was made from and cost."""
    evaluators: MaskEvaluators = field(default_factory=SingleEvaluator)
    """Evaluates the masks of a step: in this slot alone, or with other slots."""
    _charged: set[Hashable] = field(default_factory=set, repr=False)

    @property
    def batches(self) -> list[Tensor]:
        """The fixed minibatches of calibration tokens."""
        return self.replica.calibration(self.calibration)

    def for_shared(self, cost: Cost) -> "TrialContext":
        """Return a context in which to compute what several trials share: with a masked model and notes of its own.

        ``cost`` is its account. Model, pattern, text and seed are those of this trial.
        """
        model = MaskedModel(self.replica.frozen, pipeline=self.model.pipeline)
        model.micro_batch = self.model.micro_batch
        return TrialContext(self.replica, model, self.pattern, self.calibration, self.seed, cost=cost)

    def share(self, key: Hashable, compute: Callable[[Cost], T], *, initial: bool = False) -> T:
        """Return ``compute(account)``, computed once for all trials of a replica, and charge this trial for it.

        ``compute`` counts its passes in the account it is given. Every trial is charged what the computation cost,
        once, whichever trial computed it; with ``initial`` as part of the cost of the mask that the trial starts from.
        """

        def measured() -> Priced[T]:
            own = Cost()
            with own.watch():
                value = compute(own)
            return Priced(value, own.bill, own.spent)

        return self.share_priced(key, measured, initial=initial)

    def share_priced(self, key: Hashable, compute: Callable[[], Priced[T]], *, initial: bool = False) -> T:
        """Do as ``share`` does, with a ``compute`` that returns its result together with its cost."""
        computed_here = False

        def note() -> Priced[T]:
            nonlocal computed_here
            computed_here = True
            return compute()

        with self.cost.pause():  # a trial that waits for another's computation is charged the computation, not the wait
            priced = self.replica.get_or_compute(key, note, pipeline=self.model.pipeline)
        if key not in self._charged:
            self._charged.add(key)
            spent = priced.spent if computed_here else Bill()
            self.cost.charge(priced.bill, shared=priced.bill - spent, initial=initial)
        return priced.value
