"""Errors that end a trial or refuse its input, and the account of cost that they carry."""

from collections.abc import Mapping
from dataclasses import dataclass

_ACCOUNT = "nmlab_account"


class SourceError(ValueError):
    """A model or a text that cannot be reached or used as asked; the message says what to do."""


class OverlapError(SourceError):
    """A held-out text repeats what is read before it."""


class SettingError(ValueError):
    """A method that there is not, or a setting that a method refuses, with the names by which its place is found.

    Attributes:
        method: the method, as it was named.
        setting: the hyperparameter; ``"method"`` or ``"pattern"`` for those; "" where several are meant.
        otherwise: what is to blame where nobody gave the setting, so that it has its default.
    """

    def __init__(self, text: str, *, method: str = "", setting: str = "", otherwise: str = "method") -> None:
        super().__init__(text)
        self.method, self.setting, self.otherwise = method, setting, otherwise


class DivergedError(ArithmeticError):
    """The objective became non-finite, or the sampled masks became worse than guessing."""


class CheckpointError(ValueError):
    """A file of a trial's state that is damaged or belongs to another trial."""


class PeerError(RuntimeError):
    """Another worker that holds a part of the model failed, or can no longer be reached."""


class PipelineLostError(RuntimeError):
    """The pipeline stages of a model cannot reconnect; their workers have to be started again."""


class GroupClosedError(Exception):
    """The mask-parallel group is closed: the trial has ended, or another slot leads it now."""


class ReloadError(Exception):
    """This peer is out of sync with its group and must start again from the newest checkpoint."""


@dataclass(frozen=True)
class Account:
    """The step that a trial reached before an exception, and its cost by then as metrics."""

    step: int
    metrics: Mapping[str, float]


def attach_account(error: BaseException, *, step: int, metrics: Mapping[str, float]) -> None:
    """Attach to an exception the step that the trial reached and its cost."""
    vars(error)[_ACCOUNT] = Account(step, dict(metrics))


def account_of(error: BaseException) -> Account:
    """Return the account attached to an exception, an empty one where there is none."""
    found = vars(error).get(_ACCOUNT)
    return found if isinstance(found, Account) else Account(0, {})
