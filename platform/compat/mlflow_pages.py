"""Private parts of MLflow's web pages: tags that they read, and the form of what is saved there.

Without them the pages are plain: the table of runs opens with MLflow's own columns, and nothing else is lost. Importing
this module imports no MLflow.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

__all__ = [
    "TRAINING_KIND",
    "Charts",
    "column",
    "group_name",
    "no_unused_workers",
    "page_path",
    "run_path",
    "saved_view",
    "view_tag",
]

TRAINING_KIND: Final[Mapping[str, str]] = {"mlflow.experimentKind": "custom_model_development"}
"""The tag of an experiment that holds training runs and not traces of a language application.

Instead: nothing public says so. From 3.17 on the pages read it only where an address names no view of its own.
Seen: MLflow 3.17
"""
_VIEW: Final = "mlflow.sharedViewState."
_LONGEST: Final = 20_000
"""Characters of a tag of an experiment, MLflow's limit."""
_TRAINING: Final = "workflowType=machine_learning"


def view_tag(key: str) -> str:
    """Return the tag of an experiment that holds a saved view of its table of runs.

    Instead: a view is saved by hand, in the page.
    Seen: MLflow 3.17
    """
    return _VIEW + key


def saved_view(name: str, state: Mapping[str, object], *, made: int) -> str:
    """Return the value of a saved view's tag; ``made`` is its time in milliseconds since 1970.

    3.17 reads an envelope, whose state may be compressed, and lists it by name. Releases before it read the state
    itself, which stands beside the envelope's fields where the tag has room.

    Instead: as ``view_tag``.
    Seen: MLflow 3.17
    """
    text = json.dumps(state, separators=(",", ":"))
    envelope = {"name": name, "createdAt": made, "updatedAt": made, "state": _deflated(text)}
    both = json.dumps({**envelope, **state}, separators=(",", ":"))
    return both if len(both) <= _LONGEST else json.dumps(envelope, separators=(",", ":"))


def _deflated(text: str) -> str:
    return "deflate;" + base64.b64encode(zlib.compress(text.encode())).decode()


def column(kind: str, name: str) -> str:
    """Return how the table calls a column: ``kind`` is ``attributes``, ``params``, ``metrics`` or ``tags``.

    Instead: as ``view_tag``; the search for runs takes the same form, documented, for metrics, parameters and tags.
    Seen: MLflow 3.17
    """
    return f"{kind}.`{name}`"


def group_name(tag: str, value: str) -> str:
    """Return how the table calls a group of runs with one value of a tag.

    Instead: as ``view_tag``.
    Seen: MLflow 3.17
    """
    return f"tag.{tag}.{value}"


def page_path(experiment: str, *, view: str | None = None) -> str:
    """Return the path of an experiment's runs, behind the address of the server, opened as training runs.

    Instead: the address without these parameters opens the pages for language applications, on an empty tab.
    Seen: MLflow 3.17
    """
    shared = f"&viewStateShareKey={quote(view)}" if view else ""
    return f"#/experiments/{experiment}/runs?{_TRAINING}{shared}"


def run_path(experiment: str, run: str, *, artifact: str = "") -> str:
    """Return the path of a run's page, or of one of its artifacts.

    Instead: as ``page_path``.
    Seen: MLflow 3.17
    """
    below = f"/artifacts/{quote(artifact)}" if artifact else ""
    return f"#/experiments/{experiment}/runs/{run}{below}?{_TRAINING}"


def no_unused_workers() -> dict[str, str]:
    """Return environment variables with which the server starts no workers for jobs of language applications.

    Instead: MLflow does not document the switch. Without it the server starts further processes, which import MLflow.
    Seen: MLflow 3.17
    """
    return {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class Charts:
    """The charts of a saved view, by section. Charts of metrics that are named in none of them would be added.

    Instead: as ``view_tag``.
    Seen: MLflow 3.17
    """

    def __init__(self) -> None:
        self._sections: list[dict[str, object]] = []
        self._cards: list[dict[str, object]] = []

    def add_section(self, name: str, *, curves: Sequence[str] = (), bars: Sequence[str] = ()) -> None:
        """Add a section with a line chart, or a bar chart, for each metric; none is added without metrics."""
        if not curves and not bars:
            return
        section = self._section(name)
        for metric in curves:
            self._card("LINE", section, metricKey=metric, selectedMetricKeys=[metric], **_LINE)
        for metric in bars:
            self._card("BAR", section, metricKey=metric)

    def add_parallel(self, name: str, *, params: Sequence[str], metrics: Sequence[str]) -> None:
        """Add a section with one chart of parallel coordinates."""
        section = self._section(name)
        self._card("PARALLEL", section, selectedParams=list(params), selectedMetrics=list(metrics), showAllRuns=True)

    def leave_out(self, metrics: Iterable[str]) -> None:
        """Keep the page from adding charts of these metrics by itself."""
        section = str(self._sections[0]["uuid"]) if self._sections else self._section("")
        for metric in metrics:
            self._card("BAR", section, metricKey=metric, deleted=True)

    def state(self) -> dict[str, object]:
        """Return the part of a view's state that describes the charts."""
        return {
            "compareRunCharts": self._cards,
            "compareRunSections": self._sections,
            "isAccordionReordered": True,  # otherwise sections are sorted by name
            "hideEmptyCharts": True,
        }

    def _section(self, name: str) -> str:
        key = f"nmlab-section-{len(self._sections)}"
        flags = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
        self._sections.append({"uuid": key, "name": name, **flags})
        return key

    def _card(self, kind: str, section: str, **fields: object) -> None:
        key = f"nmlab-chart-{len(self._cards)}"
        own = {"type": kind, "uuid": key, "metricSectionId": section, "deleted": False, "isGenerated": False}
        self._cards.append({**own, **fields})


_LINE: Final[Mapping[str, object]] = {
    "xAxisKey": "step",
    "yAxisKey": "metric",
    "scaleType": "linear",
    "xAxisScaleType": "linear",
    "lineSmoothness": 0,
    "selectedXAxisMetricKey": "",
    "yAxisExpressions": [],
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}
