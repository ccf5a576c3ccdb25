"""List what can be deleted of a launch, by kind and in bytes, and delete it.

A launch that a process owns is left alone. Files that MLflow keeps too are deleted only if it has them, which
``undelivered`` checks, and checkpoints only of trials that have ended for good.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nmlab.platform.launches.best import best_in_folder
from nmlab.platform.launches.journal import checked_records, trials_ended_for_good
from nmlab.platform.launches.launch import LAUNCH_FILE, Launch
from nmlab.platform.launches.ownership import held_by, owned
from nmlab.platform.records.events import JournalRecord, LaunchBegan, LaunchEnded, TrialEnded, TrialSubmitted
from nmlab.platform.records.payloads import ResultRecord
from nmlab.trials.contract.run_artifacts import MASK_FILE, RECORD_FILE, WEIGHTS_FILE, checkpoint_step

Kind = Literal["checkpoints", "ray", "leftovers", "results", "launch"]
Undelivered = Callable[[Launch, Mapping[str, ResultRecord]], str]
"""Returns why a launch's results cannot be deleted: what MLflow lacks of its ended trials; "" if it has everything."""

KINDS: Mapping[Kind, str] = {
    "checkpoints": "checkpoints of trials that have ended",
    "ray": "session folders of Ray",
    "leftovers": "damaged files that were set aside, and files cut off while they were written",
    "results": "masks, weights, curves and losses of trials",
    "launch": "everything else of the launch",
}
_LEFT_OVER = (".damaged", ".partial")
_OWNERS = ("owner.json", "owner.lock")
_OF_THE_BEST = (MASK_FILE, WEIGHTS_FILE, RECORD_FILE)


@dataclass(frozen=True)
class CleaningChoice:
    """What to delete. By default: checkpoints, Ray's folders and leftovers, none of which holds a result.

    Attributes:
        checkpoints: only checkpoints.
        whole: the whole launch.
        keep_best: results too, except masks and weights of the best configuration; what describes the launch stays.
            Together with ``checkpoints``: only checkpoints, and not those of the best configuration.
    """

    checkpoints: bool = False
    whole: bool = False
    keep_best: bool = False

    @property
    def takes_results(self) -> bool:
        return (self.whole or self.keep_best) and not self.checkpoints


@dataclass
class Cleaning:
    """What can be deleted of one launch: paths with kind and bytes, or the reason why nothing is deleted."""

    launch: Launch
    paths: dict[Path, tuple[Kind, int]] = field(default_factory=dict)
    kept_because: str = ""
    best: str = ""

    @property
    def bytes_by_kind(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for kind, size in self.paths.values():
            total[kind] += size
        return dict(total)

    def record(self) -> dict[str, object]:
        """Return it as plain JSON."""
        return {
            "launch": self.launch.name,
            "folder": str(self.launch.folder),
            "bytes": self.bytes_by_kind,
            "paths": [str(path) for path in self.paths],
            "kept because": self.kept_because,
            "best": self.best,
        }


def survey(launch: Launch, choice: CleaningChoice, *, undelivered: Undelivered) -> Cleaning:
    """Return what ``choice`` would delete of a launch, without changing anything."""
    if owner := held_by(launch.folder):
        return Cleaning(launch, kept_because=f"it is owned by {owner}")
    return _found(launch, choice, undelivered=undelivered)


def carry_out(launch: Launch, choice: CleaningChoice, *, undelivered: Undelivered) -> Cleaning:
    """Delete what ``choice`` selects of a launch at this moment; return what was deleted.

    Raises ``OwnedError`` if a process owns the launch, and ``OSError`` if a file cannot be deleted.
    """
    with owned(launch.folder):
        found = _found(launch, choice, undelivered=undelivered)
        if found.kept_because:
            return found
        # The launch record first: without it no command finds the launch any more.
        for path in sorted(found.paths, key=lambda path: path.name != LAUNCH_FILE):
            _delete(path)
    if choice.whole and not choice.keep_best and not choice.checkpoints:
        shutil.rmtree(launch.folder)
    return found


def all_launches(results: Path) -> list[Launch]:
    """Return the launches below a folder of results, by name."""
    return [Launch(path.parent.resolve()) for path in sorted(results.expanduser().glob(f"*/*/{LAUNCH_FILE}"))]


def _found(launch: Launch, choice: CleaningChoice, *, undelivered: Undelivered) -> Cleaning:
    found = Cleaning(launch)
    try:
        records = list(_records(launch))
        if choice.takes_results:
            found.kept_because = _unended(launch, records) or undelivered(launch, last_results(records))
        kept: set[str] = set()
        if choice.keep_best and not found.kept_because:
            best = best_in_folder(launch.folder)
            found.best, kept = f"{best.configuration} ({best.value})", {place.name for _, place in best.folders}
    except (ValueError, OSError) as error:
        found.kept_because = str(error)
    if not found.kept_because:
        for_good = set(trials_ended_for_good(iter(records)))
        chosen = _chosen(launch, choice, ended_for_good=for_good, best=kept)
        found.paths = {path: (kind, _size(path)) for path, kind in chosen}
    return found


def last_results(records: Iterable[JournalRecord]) -> dict[str, ResultRecord]:
    """Return the newest result of every trial that has one, by key."""
    return {record.result["key"]: record.result for record in records if isinstance(record, TrialEnded)}


def _unended(launch: Launch, records: Sequence[JournalRecord]) -> str:
    begun = {record.key for record in records if isinstance(record, TrialSubmitted)}
    ended = {key for key, result in last_results(records).items() if not result.get("resumable", False)}
    starts_and_ends = [record for record in records if isinstance(record, LaunchBegan | LaunchEnded)]
    if begun <= ended and starts_and_ends and isinstance(starts_and_ends[-1], LaunchEnded):
        return ""
    count = len(begun - ended)
    what = f"{count} of its trials have not ended" if count else "it has not ended"
    return f"{what}; `nmlab resume {launch.name}` goes on with it"


def _records(launch: Launch) -> Iterator[JournalRecord]:
    if launch.journal_file.exists():
        with launch.journal_file.open("rb") as file:
            whole = (line for line in file if line.endswith(b"\n"))  # the last one may be cut off
            yield from checked_records(whole, name=str(launch.journal_file))


def _chosen(
    launch: Launch, choice: CleaningChoice, *, ended_for_good: set[str], best: set[str]
) -> Iterator[tuple[Path, Kind]]:
    for path in _files(launch.trials_folder):
        kind, key = _kind_in_trial(path), path.relative_to(launch.trials_folder).parts[0]
        goes = {
            "checkpoints": key in ended_for_good and not (choice.checkpoints and key in best),
            "leftovers": not choice.checkpoints,
            "results": choice.takes_results and not (key in best and path.name in _OF_THE_BEST),
        }
        if goes[kind]:
            yield path, kind
    if choice.checkpoints:
        return
    for path in sorted(launch.folder.iterdir()):
        if path.name == "ray" and path.is_dir():
            yield path, "ray"
        elif path.suffix in _LEFT_OVER and path.is_file():
            yield path, "leftovers"
        elif path == launch.initial_masks_folder:
            yield from _initial_masks(path, choice)
        elif choice.whole and not choice.keep_best and path != launch.trials_folder and path.name not in _OWNERS:
            yield path, "launch"


def _initial_masks(folder: Path, choice: CleaningChoice) -> Iterator[tuple[Path, Kind]]:
    for path in _files(folder):
        if path.suffix in _LEFT_OVER:
            yield path, "leftovers"
        elif choice.takes_results:
            yield path, "results"


def _kind_in_trial(path: Path) -> Kind:
    if path.suffix in _LEFT_OVER:
        return "leftovers"
    return "results" if checkpoint_step(path.name) is None else "checkpoints"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links are not followed, their own size counts."""
    files = [path] if path.is_symlink() or not path.is_dir() else _files(path)
    return sum(file.lstat().st_size for file in files)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
