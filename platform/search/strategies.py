"""Search strategies: where configurations come from, either the points of a grid or an Optuna study.

Optuna gets every outcome as what it is: COMPLETE with its objectives, PRUNED with its intermediate values if it was
stopped early, FAIL if it diverged or failed. No configuration that has ended is left RUNNING.
"""

import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nmlab.platform.compat.optuna_trials import open_trial
from nmlab.platform.search.initial_points import (
    Given,
    RandomDraw,
    configurations_tried,
    initial_points,
)
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun, grid_points
from nmlab.trials.contract.log_levels import at_least
from nmlab.trials.files.checked_json import DamagedFileError, checksum_of, has_checksum, read_line
from nmlab.trials.files.disk import retry_while_disk_full

_log = logging.getLogger(__name__)
_CONFIGURATION = "nmlab:configuration"
_REPEATS = 10
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_quiet = partial(at_least, logging.ERROR, "optuna")
"""Around every call of Optuna: its report of each trial is not shown, and other users of Optuna keep theirs."""


@dataclass(frozen=True)
class Proposal:
    """A configuration to try, under its number in the search."""

    number: int
    configuration: Configuration


@dataclass(frozen=True)
class Outcome:
    """How a configuration ended over all its seeds: objectives, or None where any seed has none.

    Optuna is told COMPLETE if it is not pruned and all values are finite, PRUNED if it is pruned, the search has one
    objective and there are intermediate values, and FAIL otherwise (`OptunaStrategy.tell`).
    """

    values: Sequence[float] | None
    pruned: bool = False
    intermediate: Mapping[int, float] = field(default_factory=dict)


class SearchStrategy(Protocol):
    """A source of configurations, which may learn from their outcomes."""

    def open(self) -> list[Proposal]:
        """Return the proposals that an earlier launch made and that have no outcome yet."""

    def failed(self) -> list[Proposal]:
        """Return the proposals that failed; a resumed launch runs their failed trials again."""

    def next(self) -> Proposal | None:
        """Return another configuration, or None when there are no more."""

    def tell(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of the proposal ``number``."""


class GridStrategy:
    """Every point of the grid, in file order."""

    def __init__(self, study: Study) -> None:
        self._points = [Proposal(number, point) for number, point in enumerate(grid_points(study))]
        self._next = 0

    def open(self) -> list[Proposal]:
        return []  # a resumed grid starts from its first point; trials that have ended are not run again

    def failed(self) -> list[Proposal]:
        return []

    def next(self) -> Proposal | None:
        if self._next == len(self._points):
            return None
        self._next += 1
        return self._points[self._next - 1]

    def tell(self, number: int, outcome: Outcome) -> None:
        """Do nothing: a grid does not learn."""


class _PatientFile(JournalFileBackend):
    """The file of an Optuna journal: waits for room on a full disk, and takes a failed write back.

    The sweep proposes nothing while it waits; running trials go on. Each line has a checksum, which Optuna ignores. A
    line that a crash cut off is removed when the file is opened. Raises ``DamagedFileError`` for a file that is not
    what was written.
    """

    def __init__(self, file_path: str) -> None:
        self._path = Path(file_path)
        if self._path.exists():
            _check_lines(self._path)
        super().__init__(file_path)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        checked = [{**log, "crc": checksum_of(log)} for log in logs]

        def append() -> None:
            before = self._path.stat().st_size
            try:
                super(_PatientFile, self).append_logs(checked)
            except OSError:
                os.truncate(self._path, before)
                raise

        retry_while_disk_full(append, given_up=lambda: False)  # Ctrl-C ends the wait


def _check_lines(path: Path) -> None:
    """Remove a last line that was cut off, and check that every other line is what was written.

    Lines of the first version have no checksum; after one that has, all have.
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
        _log.info("removed the last line of Optuna's journal %s, which a crash had cut off", path)
    is_checked = False
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            record = read_line(line, needs_checksum=is_checked)
            if record is None or "op_code" not in record:
                raise ValueError("expected an entry of Optuna")
        except ValueError as error:
            raise DamagedFileError(f"Optuna's journal {path} is damaged in line {number}: {error}") from error
        is_checked = is_checked or has_checksum(line)


class OptunaStrategy:
    """An Optuna study in a journal file; a later process that opens the file continues the study.

    Args:
        study: what is searched, and how.
        journal: the file.
        name: of the Optuna study in it; by default that of ``study``.
        tried_before: configurations that count as tried and are not in the Optuna study.
    """

    @_quiet()
    def __init__(self, study: Study, *, journal: Path, name: str | None = None, tried_before: int = 0) -> None:
        self.study, self.name, self._tried_before = study, name or study.name, tried_before
        self._space = DefineByRun(study)
        self._configurations = configurations_tried(study)
        self._search = study.search
        self._first = initial_points(study)
        directions = [_DIRECTIONS[mode] for mode in study.search.modes]
        self._optuna = optuna.create_study(
            study_name=self.name,
            storage=JournalStorage(_PatientFile(str(journal))),
            directions=directions,
            load_if_exists=True,
        )

    @_quiet()
    def open(self) -> list[Proposal]:
        proposals = []
        for trial in self._optuna.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if _CONFIGURATION in trial.user_attrs:
                proposals.append(Proposal(trial.number, trial.user_attrs[_CONFIGURATION]))
            else:  # the process died before it recorded the configuration
                self._optuna.tell(trial.number, state=TrialState.FAIL)
        return proposals

    def failed(self) -> list[Proposal]:
        return [
            Proposal(trial.number, trial.user_attrs[_CONFIGURATION])
            for trial in self._counted()
            if trial.state == TrialState.FAIL
        ]

    @_quiet()
    def next(self) -> Proposal | None:
        known = [trial.user_attrs[_CONFIGURATION] for trial in self._counted()]
        if self._tried_before + len(known) >= self._configurations:
            return None
        first = next((point for point in self._first if self._space(Given(point)) not in known), None)
        if first is not None:
            self._optuna.enqueue_trial(first)
        for attempt in range(_REPEATS + 1):
            if attempt == _REPEATS:  # the sampler keeps proposing known configurations
                self._optuna.enqueue_trial(self._untried(known))
            trial = self._ask()
            configuration = self._space(trial)
            if configuration not in known:
                trial.set_user_attr(_CONFIGURATION, configuration)
                return Proposal(trial.number, configuration)
            # A repeated point would be the same trials again, so Optuna gets a FAIL.
            _log.debug("proposal %d repeats an earlier point", trial.number)
            self._optuna.tell(trial, state=TrialState.FAIL)
        raise AssertionError("a point that was not tried before turned out to be known")

    @_quiet()
    def tell(self, number: int, outcome: Outcome) -> None:
        known = self._optuna.get_trials(deepcopy=False)[number]
        trial = open_trial(self._optuna, known)
        if len(self._search.metrics) == 1:
            for step, value in sorted(outcome.intermediate.items()):
                # An earlier process may have reported the value.
                if math.isfinite(value) and step not in known.intermediate_values:
                    trial.report(value, step)
        finite = outcome.values is not None and all(math.isfinite(value) for value in outcome.values)
        if outcome.pruned and len(self._search.metrics) == 1 and outcome.intermediate:
            self._optuna.tell(number, state=TrialState.PRUNED)
        elif finite and not outcome.pruned:
            self._optuna.tell(number, list(outcome.values or ()))
        else:
            self._optuna.tell(number, state=TrialState.FAIL)

    @property
    def optuna_study(self) -> optuna.Study:
        """The Optuna study."""
        return self._optuna

    @property
    def tried(self) -> list[optuna.trial.FrozenTrial]:
        """The trials of the Optuna study that are configurations."""
        return self._counted()

    def _counted(self) -> list[optuna.trial.FrozenTrial]:
        """Return the proposals that became trials; repeated points and interrupted asks have no configuration."""
        return [trial for trial in self._optuna.get_trials(deepcopy=False) if _CONFIGURATION in trial.user_attrs]

    def _ask(self) -> optuna.trial.Trial:
        self._optuna.sampler = self._sampler(len(self._optuna.get_trials(deepcopy=False)))
        return self._optuna.ask()

    def _untried(self, known: list[Configuration]) -> Configuration:
        """Draw a point that is not known; there is one, because no more are tried than the space has."""
        for seed in count(len(self._optuna.get_trials(deepcopy=False)) * 100_003):
            draw = RandomDraw(seed)
            if self._space(draw) not in known:
                return draw.drawn
        raise AssertionError("counting has no end")

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return a sampler seeded by the proposal's number, so that proposals depend on the history alone."""
        seed = self._search.seed * 100_003 + number
        if self._search.algorithm == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self._search.algorithm == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=population(self._configurations))
        startup = startup_trials(self._configurations)
        with warnings.catch_warnings():  # both arguments are experimental, and conditional spaces need them
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=startup)


def startup_trials(configurations: int) -> int:
    """Return how many of a search's points are drawn at random, before it has enough outcomes to choose."""
    return min(10, max(4, configurations // 3))


def population(configurations: int) -> int:
    """Return the size of a generation of NSGA-II, of which the first is drawn at random: a quarter, 50 at most.

    A small search has no fewer than TPE draws at random. Optuna's own 50 is more than many searches try, which would
    then never leave the first generation.
    """
    return max(startup_trials(configurations), min(50, configurations // 4))


def strategy_of(study: Study, *, journal: Path) -> SearchStrategy:
    """Return the search strategy that a study names."""
    return GridStrategy(study) if study.search.algorithm == "grid" else OptunaStrategy(study, journal=journal)
