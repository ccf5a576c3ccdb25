"""The whole report as one value, before any format: renderers only write it down."""

from dataclasses import dataclass
from datetime import datetime

from nmlab.reports.figures import FigureFile
from nmlab.reports.provenance import Section
from nmlab.reports.tables import Table


@dataclass(frozen=True, slots=True)
class RunLinks:
    """How to reach a run: the address of an MLflow user interface and the experiment of the study."""

    ui_base: str
    experiment_id: str

    def run(self, run_id: str) -> str:
        """Return the address of one run's page."""
        return f"{self.ui_base.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    @property
    def experiment(self) -> str:
        """The address of the study's page."""
        return f"{self.ui_base.rstrip('/')}/#/experiments/{self.experiment_id}"


@dataclass(frozen=True, slots=True)
class Document:
    """Everything a reader sees; ``facts`` are the few words under the title, ``written`` the time of writing."""

    study: str
    facts: tuple[tuple[str, str], ...]
    headline: tuple[str, ...]
    warnings: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[FigureFile, ...]
    provenance: tuple[Section, ...]
    links: RunLinks
    written: datetime
