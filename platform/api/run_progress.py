"""The progress of a single trial: a bar on a terminal, nothing elsewhere."""

from collections.abc import Mapping
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nmlab.platform.api.consoles import console
from nmlab.trials.contract.declarations import metric_of

_SHOWN = ("train/loss", "train/residual", "train/mask_change", "initial/perplexity", "eval/perplexity")


class RunProgress:
    """Shows a progress bar on the standard error where that is a terminal, with the newest values.

    Use it as a context; entered, it is the function that is called with the step and values of every point.
    """

    def __init__(self, *, shown: bool) -> None:
        columns = (
            TextColumn("step {task.completed}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        out = console(stderr=True)
        self._progress = Progress(*columns, console=out, transient=True, disable=not (shown and out.is_terminal))
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        shown = {metric_of(name).label: value for name, value in values.items() if name in _SHOWN}
        text = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self._progress.update(self._task, completed=step, description=text)
