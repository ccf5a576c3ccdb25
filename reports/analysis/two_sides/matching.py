"""Which configuration of one side is compared with which of the other.

A configuration is compared with the one of the same method, pattern and settings, where the settings are those that
vary within a side. Where no searched configuration has such a counterpart, the best of each method is compared, then
the best of each search. Configurations without a counterpart, or that lack a run, are listed with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nmlab.reports.analysis.compared_studies import ComparedConfiguration
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.cross_tabulation import best_configuration
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.settings import varying
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import counted
from nmlab.trials.contract.run_status import TrialStatus

Key = tuple[Value | None, ...]
"""What the two configurations of a row have in common."""
BEST_OF_SEARCH = "best of the search"


class MatchedBy(StrEnum):
    """What the two configurations of a row have in common."""

    SETTINGS = "settings"
    METHOD = "method"
    SEARCH = "search"
    SELECTION = "selection"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class PairBudget:
    """The equal budget of two runs: its kind and size, and for each side the step reached, of how many."""

    kind: str
    size: float
    steps: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class MatchedPair:
    """A configuration of the first side and its counterpart.

    Attributes:
        key: what both have in common.
        first: of the first side, with the runs that are compared.
        second: of the second side.
        among: for each side of how many configurations it is the best.
        is_fresh: whether the runs are those on fresh seeds.
        budget: where values at an equal budget stand for the final ones.
    """

    key: Key
    first: Configuration
    second: Configuration
    among: tuple[int, int] = (1, 1)
    is_fresh: bool = False
    budget: PairBudget | None = None

    @property
    def sides(self) -> tuple[Configuration, Configuration]:
        """Both configurations."""
        return (self.first, self.second)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The finished runs of both."""
        return tuple(dict.fromkeys(trial.run_id for item in self.sides for trial in item.finished))


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A configuration that is not compared: of which side (0 or 1), and why."""

    side: int
    item: Configuration
    reason: str


@dataclass(frozen=True, slots=True)
class Matching:
    """The pairs, by what they were matched, the names of their keys, and what is in none of them."""

    by: MatchedBy
    names: tuple[str, ...]
    pairs: tuple[MatchedPair, ...]
    unmatched: tuple[Unmatched, ...]
    settings: tuple[str, ...] = field(default=())


def match(
    sides: tuple[Sequence[ComparedConfiguration], Sequence[ComparedConfiguration]],
    *,
    metric: str,
    rows: Sequence[str] = (),
    is_selected: bool = False,
) -> Matching:
    """Return the pairs of two sides.

    Args:
        sides: the configurations of each, best first.
        metric: the metric to compare; a configuration without a value of it is in no pair.
        rows: match by these dimensions instead: study, method, pattern, role or settings.
        is_selected: whether a side was narrowed to what was asked for, so that what is left may be compared whatever
            its method and role.
    """
    items = tuple([member.item for member in side] for side in sides)
    reasons = [{id(item): _reason(item, metric) for item in side} for side in items]
    usable = [[member for member in side if not why[id(member.item)]] for side, why in zip(sides, reasons, strict=True)]
    by, names, key_of = _rule(usable, rows=rows, is_selected=is_selected)
    pairs = _pairs(usable, key_of)
    if by is MatchedBy.SETTINGS:
        pairs = [*pairs, *_best_rows(usable, pairs)]
    unmatched = [
        Unmatched(side, member.item, reasons[side][id(member.item)] or "no counterpart")
        for side, members in enumerate(sides)
        for member in _left(members, usable[side], {pair.key for pair in pairs}, key_of)
    ]
    settings = varying([item for side in items for item in side])
    return Matching(by, names, tuple(sorted(pairs, key=_order)), tuple(unmatched), settings)


_KeyOf = Callable[[ComparedConfiguration], Key]


def _rule(
    usable: Sequence[Sequence[ComparedConfiguration]], *, rows: Sequence[str], is_selected: bool
) -> tuple[MatchedBy, tuple[str, ...], _KeyOf]:
    """Return the first rule by which searched configurations have counterparts, or else anything has."""
    if rows:
        return MatchedBy.ROWS, tuple(rows), lambda member: tuple(member.get(name) for name in rows)
    inside = {name for side in usable for name in varying([member.item for member in side])}
    rules: dict[MatchedBy, tuple[tuple[str, ...], _KeyOf]] = {
        MatchedBy.SETTINGS: (("method", "pattern", "setting"), lambda member: _with_settings(member.item, inside)),
        MatchedBy.METHOD: (("method", "pattern"), lambda member: _kind(member.item)),
    }
    if is_selected:
        rules[MatchedBy.SELECTION] = _whatever(usable)
    else:
        rules[MatchedBy.SEARCH] = (("method", "pattern"), lambda member: _searched_kind(member.item))
    searches = [any(not member.item.is_baseline for member in side) for side in usable]
    for needs_search in (True, False):
        for by, (names, key_of) in rules.items():
            found = _pairs(usable, key_of)
            if found and (not needs_search or not all(searches) or any(not pair.first.is_baseline for pair in found)):
                return by, names, key_of
    by = list(rules)[-1]
    return (by, *rules[by])


def _with_settings(item: Configuration, names: set[str]) -> Key:
    own = tuple(f"{name}={item.settings[name]}" for name in sorted(names) if name in item.settings)
    return (*_kind(item), *own)


def _kind(item: Configuration) -> Key:
    return (item.method, "" if item.is_dense else item.pattern)


def _searched_kind(item: Configuration) -> Key:
    return _kind(item) if item.is_baseline else (BEST_OF_SEARCH, item.pattern)


def _whatever(usable: Sequence[Sequence[ComparedConfiguration]]) -> tuple[tuple[str, ...], _KeyOf]:
    """Return the rule for what was asked for: by pattern where the sides share one, else all in one row."""
    first, second = ({_kind(member.item)[1] for member in side} for side in usable)
    if (len(first) <= 1 and len(second) <= 1) or not first & second:
        return (), lambda _: ()
    return ("pattern",), lambda member: (_kind(member.item)[1],)


def _pairs(usable: Sequence[Sequence[ComparedConfiguration]], key_of: _KeyOf) -> list[MatchedPair]:
    """Return the best of each key of the first side with the best of the same key of the second."""
    own, other = (_by_key(side, key_of) for side in usable)
    return [pair for key in own if key in other and (pair := _pair(key, own[key], other[key])) is not None]


def _by_key(side: Sequence[ComparedConfiguration], key_of: _KeyOf) -> Mapping[Key, list[Configuration]]:
    found: dict[Key, list[Configuration]] = {}
    for member in side:
        found.setdefault(key_of(member), []).append(member.item)
    return found


def _pair(key: Key, own: Sequence[Configuration], other: Sequence[Configuration]) -> MatchedPair | None:
    first, second = _best(own), _best(other)
    if first is None or second is None:
        return None
    among = (len(own), len(other))
    fresh = [_on_fresh_seeds(item) for item in (first, second)]
    if fresh[0] is None or fresh[1] is None or not any(item.is_confirmation for item in (fresh[0], fresh[1])):
        return MatchedPair(key, first, second, among)
    return MatchedPair(key, fresh[0], fresh[1], among, is_fresh=True)


def _on_fresh_seeds(item: Configuration) -> Configuration | None:
    """Return a configuration on fresh seeds, or as it is where seeds change nothing; None where it has not run there.

    A side on fresh seeds is not compared with one on the seeds of its search, whose mean may owe something to them.
    """
    if item.confirmation is not None and item.confirmation.is_complete:
        return item.confirmation
    return None if Side(item).has_training_noise else item


def _best(items: Sequence[Configuration]) -> Configuration | None:
    """Return the one, or the best by what selects; one that breaks a constraint of its search is never the best."""
    if len(items) == 1:
        return items[0]
    return best_configuration([item for item in items if not item.breaks_constraint], objective=items[0].objective)


def _best_rows(usable: Sequence[Sequence[ComparedConfiguration]], pairs: Sequence[MatchedPair]) -> list[MatchedPair]:
    """Return a row for the best of each search where a searched configuration has no counterpart."""
    tried = [[member for member in side if not member.item.is_baseline] for side in usable]
    known = {run_id for pair in pairs if not pair.first.is_baseline for run_id in pair.run_ids}
    left = [member for side in tried for member in side if not _is_among(member.item, known)]
    if not left or max(map(len, tried)) < 2:
        return []
    together = {pair.run_ids for pair in pairs}
    return [pair for pair in _pairs(tried, lambda member: _searched_kind(member.item)) if pair.run_ids not in together]


def _is_among(item: Configuration, run_ids: set[str]) -> bool:
    return any(trial.run_id in run_ids for trial in item.every_trial)


def _left(
    members: Sequence[ComparedConfiguration],
    usable: Sequence[ComparedConfiguration],
    matched: set[Key],
    key_of: _KeyOf,
) -> list[ComparedConfiguration]:
    """Return the configurations that no row stands for: unusable ones, and those whose key has no counterpart."""
    known = {id(member) for member in usable}
    return [member for member in members if id(member) not in known or key_of(member) not in matched]


def _reason(item: Configuration, metric: str) -> str:
    """Return why a configuration can't be compared; empty where it can."""
    if not item.is_complete:
        ended = {status: item.count(status) for status in TrialStatus if status != TrialStatus.FINISHED}
        how = ", ".join(f"{count} {status}" for status, count in ended.items() if count)
        missing = item.runs_in_all - len(item.trials)
        how = ", ".join(part for part in (how, f"{missing} not run" if missing > 0 else "") if part)
        return f"{len(item.finished)} of {counted(item.runs_in_all, noun='run')} finished ({how})"
    return "" if Side(item).values(metric) else f"no value of {plain_name(metric)}"


def _order(pair: MatchedPair) -> tuple[bool, bool]:
    """Put the best of a search first, then searched configurations, then baselines; else keep the order."""
    return (pair.first.is_baseline, pair.key[:1] != (BEST_OF_SEARCH,))
