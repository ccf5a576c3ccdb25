"""List what can be deleted of launches, in bytes by kind, and delete it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.places import results_folder
from nmlab.platform.api.rendering import html_of, text_of
from nmlab.trials.contract.values import JsonMapping, JsonObject

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class CleanedLaunch:
    """What can be deleted, or was deleted, of one launch: bytes by kind; or why nothing is."""

    launch: str
    bytes: Mapping[str, int]
    kept_because: str
    best: str
    _record: JsonMapping = field(repr=False, compare=False)


@dataclass(frozen=True)
class Cleaned:
    """What can be deleted of launches, or was deleted if ``deleted`` is true.

    Attributes:
        deleted: whether it was deleted.
        launches: each launch with its bytes by kind, and why it is left alone if it is.
        bytes: of all launches by kind.
    """

    deleted: bool
    launches: tuple[CleanedLaunch, ...]
    bytes: Mapping[str, int]

    def record(self) -> JsonObject:
        """Return everything as plain JSON, as ``nmlab clean --json`` prints it."""
        return {
            "deleted": self.deleted,
            "bytes": dict(self.bytes),
            "launches": [dict(each._record) for each in self.launches],
        }

    def view(self) -> "Iterator[RenderableType]":
        """Yield the table and the lines that show it."""
        from rich.table import Table

        from nmlab.platform.launches.cleaning import KINDS
        from nmlab.platform.planning.admission import size

        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("launch", no_wrap=True)
        for kind in KINDS:
            table.add_column(kind, justify="right", no_wrap=True)
        for each in self.launches:
            table.add_row(each.launch, *(size(each.bytes[kind]) if kind in each.bytes else "-" for kind in KINDS))
        yield table
        for each in self.launches:
            if each.kept_because:
                yield f"{each.launch}: left alone, {each.kept_because}"
            elif each.best:
                yield f"{each.launch}: kept masks and weights of configuration {each.best}"
        total = size(sum(self.bytes.values()))
        yield f"{total} deleted" if self.deleted else f"{total} would be deleted; --yes deletes them"

    def __str__(self) -> str:
        return text_of(self.view())

    def _repr_html_(self) -> str:
        return html_of(self.view())


def clean(
    launch: str | None = None,
    *,
    checkpoints: bool = False,
    keep_best: bool = False,
    whole: bool = False,
    delete: bool = False,
    results: str | Path | None = None,
) -> Cleaned:
    """List what can be deleted of launches, in bytes; with ``delete``, delete it.

    Without further arguments: checkpoints of trials that have ended, Ray's session folders, and files that were damaged
    or cut off. Every result stays. A launch that a process owns, and results that MLflow lacks, are never deleted.

    Args:
        launch: a launch, its folder, or a study (its newest launch); by default all launches.
        checkpoints: only checkpoints of trials that have ended.
        keep_best: results too, except masks and weights of the best configuration.
        whole: the whole launch with its results; it needs ``launch``.
        delete: delete it; ``--yes`` on the command line.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.

    Returns:
        What can be, or was, deleted of each launch, and why one is left alone.

    Raises:
        ValueError: there is no such launch, or ``whole`` without one.

    Example:
        >>> import nmlab
        >>> nmlab.clean(delete=False).bytes
        {}
    """
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.cleaning import KINDS, CleaningChoice, all_launches, carry_out, survey
    from nmlab.platform.launches.ownership import OwnedError
    from nmlab.platform.tracking.undelivered import undelivered

    if whole and launch is None:
        raise ValueError("--whole deletes a launch with its results; expected its name: nmlab clean LAUNCH --whole")
    choice, folder = CleaningChoice(checkpoints=checkpoints, whole=whole, keep_best=keep_best), results_folder(results)
    found = []
    for each in all_launches(folder) if launch is None else [launches.find(launch, results=folder)]:
        cleaning = survey(each, choice, undelivered=undelivered)
        if delete and not cleaning.kept_because:
            try:
                cleaning = carry_out(each, choice, undelivered=undelivered)
            except OwnedError as error:
                cleaning.paths, cleaning.kept_because = {}, str(error)
        sizes = cleaning.bytes_by_kind
        own = CleanedLaunch(each.name, sizes, cleaning.kept_because, cleaning.best, cleaning.record())
        found.append(own)
    sums = {kind: sum(each.bytes.get(kind, 0) for each in found) for kind in KINDS}
    return Cleaned(delete, tuple(found), {kind: size for kind, size in sums.items() if size})
