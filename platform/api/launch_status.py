"""Show how a launch stands, running or ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.places import results_folder
from nmlab.platform.api.rendering import WIDTH
from nmlab.trials.contract.values import JsonObject

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nmlab.platform.launches.snapshot import StoredSnapshot
    from nmlab.platform.launches.view.view_line import ViewLine


@dataclass(frozen=True, eq=False, repr=False)
class Status:
    """How a launch stands. As text, and in a notebook, it is what ``nmlab status`` prints.

    Attributes:
        launch: the launch's name.
        phase: ``"starting"``, ``"running"``, ``"stopping"``, ``"finished"``, ``"stopped"``, ``"failed"``, or
            ``"killed"`` if its process is gone and has not said how it ended.
        is_alive: whether its process is at work.
        ended: the trials that have ended.
        planned: the trials in all.
        counts: how many trials are in which status.
    """

    launch: str
    phase: str
    is_alive: bool
    ended: int
    planned: int
    counts: Mapping[str, int]
    _snapshot: "StoredSnapshot" = field(repr=False)

    def record(self) -> JsonObject:
        """Return everything as plain JSON, as ``nmlab status --json`` prints it."""
        return dict(self._snapshot)

    @property
    def snapshot(self) -> "StoredSnapshot":
        """Everything as `record` has it, with its types."""
        return self._snapshot

    def view(self) -> "RenderableType":
        """Return what rich prints of it."""
        from nmlab.platform.launches.view.outputs import as_rich

        return as_rich(self.lines())

    def lines(self, *, width: int = WIDTH) -> "list[ViewLine]":
        """Return what there is to see of it, none of its lines wider than ``width`` cells of a terminal."""
        from nmlab.platform.launches.view.live_view import status_lines

        return status_lines(self._snapshot, width=width)

    def __str__(self) -> str:
        return "\n".join(line.text for line in self.lines())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from nmlab.platform.launches.view.outputs import as_html

        return as_html(self.lines())


def status(launch: str | None = None, *, results: str | Path | None = None) -> Status:
    """Show a launch, running or ended: replicas, trials, losses, failures, and how often the model was loaded.

    Args:
        launch: a launch, its folder, or a study (its newest launch); by default the newest of all.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.

    Returns:
        How it stands at this moment.

    Raises:
        ValueError: there is no such launch, or it has not started yet.

    Example:
        >>> import nmlab
        >>> nmlab.status("quickstart").counts  # doctest: +SKIP
    """
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.status import read_status

    snapshot = read_status(launches.find(launch, results=results_folder(results)))
    return Status(
        launch=str(snapshot["launch"]),
        phase=str(snapshot["phase"]),
        is_alive=bool(snapshot["alive"]),
        ended=int(snapshot["ended"]),
        planned=int(snapshot["planned"]),
        counts=dict(snapshot["counts"]),
        _snapshot=snapshot,
    )
