"""One trial of a launch at this moment, as the state of the launch holds it."""

from dataclasses import dataclass, field
from typing import cast

from nmlab.platform.launches.snapshot import TrialSnapshot
from nmlab.platform.launches.time_left import StepPace, TrialWork
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import Role

_LEFT_OUT = ("confirmation", "limited", "seconds")
"""Fields that the snapshot of a trial leaves out where they are empty."""
_OWN = ("pace", "earlier_step", "is_earlier")
"""Fields that it does not have: only the time left is computed from them."""


@dataclass
class TrialLine:
    """One trial in the live view and in ``nmlab status``."""

    label: str
    seed: int
    steps: int
    configuration: str = ""
    pattern: str = ""
    role: str = Role.SEARCH
    replicates: int = 1
    status: str = TrialStatus.WAITING
    step: int = 0
    host: str = ""
    loss: float | None = None
    initial: float | None = None
    perplexity: float | None = None
    """The objective, whatever its metric is; `status.json` has it under this name."""
    reason: str = ""
    ended: bool = False
    confirmation: bool = False
    """Whether its seed took no part in the search."""
    limited: dict[str, float] = field(default_factory=dict)
    """The metrics that constraints of the search are on, as far as it has them."""
    method: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    """What tells its configuration from others of its method and pattern, as text."""
    seconds: float | None = None
    """What it took, once it has ended."""
    pace: StepPace = field(default_factory=StepPace)
    earlier_step: int = 0
    """How far earlier processes of the launch brought it."""
    is_earlier: bool = False
    """Whether one of them ended it."""

    def snapshot(self) -> TrialSnapshot:
        """Return it as plain JSON."""
        own = {name: value for name, value in vars(self).items() if name not in _OWN}
        return cast(TrialSnapshot, {name: value for name, value in own.items() if name not in _LEFT_OUT or value})

    @property
    def work(self) -> TrialWork:
        """What is known of its time."""
        return TrialWork(
            kind=self.method,
            steps=self.steps,
            step=self.step,
            earlier_step=self.earlier_step,
            has_ended=self.ended,
            is_earlier=self.is_earlier,
            seconds=self.seconds,
            pace=self.pace.seconds_a_step,
            is_of_search=self.role == Role.SEARCH,
            is_running=self.status == TrialStatus.RUNNING,
        )
