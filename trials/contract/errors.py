"""The ways in which a trial can end other than by finishing, and the bad input a user can give it."""

from collections.abc import Mapping
from dataclasses import dataclass

_ACCOUNT = "nmlab_account"


class SourceError(ValueError):
    """A model or a text that cannot be reached or used as asked; the message says what to do."""


class DivergedError(ArithmeticError):
    """The objective became non-finite, or the sampled masks became worse than guessing."""


class CheckpointError(ValueError):
    """A file of a trial's state that is damaged or belongs to another trial."""


class PeerError(RuntimeError):
    """Another worker that holds a part of the model failed, or can no longer be reached."""


class PipelineLostError(RuntimeError):
    """The workers that hold a model between them cannot come together again; they have to be started anew."""


class GroupClosedError(Exception):
    """The trial has ended, or another leads it now; who only takes part goes home."""


class ReloadError(Exception):
    """This participant is not where the others are, and must start from the newest checkpoint."""


@dataclass(frozen=True)
class Account:
    """How far a trial came that an exception ended, and what it had spent, as metrics."""

    step: int
    metrics: Mapping[str, float]


def note_account(error: BaseException, *, step: int, metrics: Mapping[str, float]) -> None:
    """Note on an exception how far the trial that it ends came and what it has spent."""
    vars(error)[_ACCOUNT] = Account(step, dict(metrics))


def account_of(error: BaseException) -> Account:
    """Return what is noted on an exception; nothing where it did not come from within a trial."""
    found = vars(error).get(_ACCOUNT)
    return found if isinstance(found, Account) else Account(0, {})
