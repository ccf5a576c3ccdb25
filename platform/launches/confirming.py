"""How the confirmation of a search stands: what was chosen, how far its trials are, and that in one line."""

from collections.abc import Collection
from dataclasses import dataclass, field

from nmlab.platform.launches.snapshot import ConfirmationSnapshot, Snapshot
from nmlab.platform.launches.standings import read_standing
from nmlab.platform.records.events import ConfirmationChosen
from nmlab.platform.search.confirmation import Confirmations, ConfirmationTrial
from nmlab.trials.contract.run_tags import Role


@dataclass
class ConfirmationState:
    """The confirmation of a launch, before and after its search has ended.

    Attributes:
        expected_trials: how many trials it has at most, before they are chosen; 0 if the study asks for none.
        seeds: on which it runs.
        found: what was chosen.
        version: of the study, since which it is to be chosen; earlier choices stay beside it.
    """

    expected_trials: int = 0
    seeds: tuple[int, ...] = ()
    found: Confirmations = field(default_factory=Confirmations)
    version: int = 1

    def choose(self, choice: ConfirmationChosen) -> None:
        """Handle the record of what was chosen."""
        self.found.follow([choice])
        if self.is_settled:
            self.expected_trials, self.seeds = len(self.found.trials), self.found.seeds
        else:
            self.expected_trials = max(self.expected_trials, len(self.found.trials))

    @property
    def is_settled(self) -> bool:
        """Whether the choice is made."""
        return self.found.is_settled_since(self.version)

    @property
    def is_asked(self) -> bool:
        """Whether the launch has a confirmation."""
        return self.expected_trials > 0 or bool(self.found.choices)

    def trial(self, key: str) -> ConfirmationTrial | None:
        """Return a trial of the confirmation, None for any other trial."""
        return self.found.trials.get(key)

    def snapshot(self, ended: Collection[str]) -> ConfirmationSnapshot:
        """Return how it stands as plain JSON, given the keys of the trials that have ended."""
        choice = self.found.choices[-1] if self.is_settled else None
        roles = [] if choice is None else [chosen["role"] for chosen in choice.chosen]
        return {
            "seeds": list(self.seeds),
            "planned": self.expected_trials,
            "ended": sum(key in self.found.trials for key in ended),
            "is_chosen": choice is not None,
            "configurations": roles.count(Role.SEARCH),
            "baselines": roles.count(Role.BASELINE),
            "asked": 0 if choice is None else choice.asked,
        }


def confirmation_lines(snapshot: Snapshot) -> tuple[str, ...]:
    """Return how a search and its confirmation stand, a line for each pattern; none if no confirmation is asked for."""
    if (confirmation := snapshot.get("confirmation")) is None:
        return ()
    found = (read_standing(record).text for record in snapshot.get("best", ()))
    return (*filter(None, found), confirmation_line(confirmation))


def confirmation_line(found: ConfirmationSnapshot) -> str:
    """Return how a confirmation stands in one line."""
    seeds = f"the fresh seeds {', '.join(map(str, found['seeds']))}"
    if not found["is_chosen"]:
        return f"to confirm when the search has ended: at most {found['planned']} trials on {seeds}"
    if not found["configurations"]:
        return "nothing to confirm: no configuration of the search finished on all of its seeds"
    beside = f" and {_counted(found['baselines'], 'baseline')}" if found["baselines"] else ""
    what = f"{_counted(found['configurations'], 'configuration')}{beside} on {seeds}"
    is_confirmed = found["ended"] >= found["planned"]
    head = f"confirmed {what}" if is_confirmed else f"confirming {what}: {found['ended']} of {found['planned']} trials"
    if found["configurations"] >= found["asked"]:
        return head
    return f"{head}; {found['asked']} were asked for, and no more finished on all of their seeds"


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
