"""The whole report as one value, independent of its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nmlab.reports.figures import FigureFile
from nmlab.reports.narrative.first_screen import FirstScreen
from nmlab.reports.narrative.provenance import ProvenanceSection
from nmlab.reports.values import ReportTable

LEADING = ("summary", "effects", "winner", "rivals", "tasks", "claims", "published", "differences")
"""The leading tables; there may be several published ones, named published-PAPER-ITEM. The last is of two sides."""
FIRST_COMMANDS = 2  # on the first screen
FIRST = ("ranking", "differences")
"""The figure of the first screen: of a report, and of two compared sides."""


@dataclass(frozen=True, slots=True)
class RunLinks:
    """Links to runs: the address of an MLflow user interface and the experiment of the study.

    ``experiments`` maps runs of other studies to their experiments.
    """

    ui_base: str
    experiment_id: str
    experiments: Mapping[str, str] = field(default_factory=dict)

    def run(self, run_id: str) -> str:
        """Return the address of one run's page."""
        experiment = self.experiments.get(run_id, self.experiment_id)
        return f"{self.ui_base.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"

    @property
    def experiment(self) -> str:
        """The address of the study's page."""
        return f"{self.ui_base.rstrip('/')}/#/experiments/{self.experiment_id}"


@dataclass(frozen=True, slots=True)
class Command:
    """A next command, ready to copy, and what it does."""

    line: str
    does: str


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report; ``facts`` are the short list under the title, ``written`` is the time of writing.

    ``title`` and ``question`` are those of the study, where it has them. ``winners`` has the best searched
    configuration of each group and its comparisons as plain values. ``screen`` is what a reader sees first; tables of
    several studies have none. ``facts_title`` stands above the facts, ``whole_tables`` says where all rows of a cut
    table are.
    """

    study: str
    facts: tuple[tuple[str, str], ...]
    headline: tuple[str, ...]
    warnings: tuple[str, ...]
    tables: tuple[ReportTable, ...]
    figures: tuple[FigureFile, ...]
    provenance: tuple[ProvenanceSection, ...]
    links: RunLinks
    written: datetime
    title: str = ""
    question: str = ""
    commands: tuple[Command, ...] = ()
    winners: tuple[Mapping[str, object], ...] = ()
    screen: FirstScreen | None = None
    facts_title: str = "The launch"
    whole_tables: str = "in tables/{key}.csv and in report.json"

    def where_whole(self, table: ReportTable) -> str:
        """Return where every row of a table is that a page cuts."""
        return self.whole_tables.format(key=table.key)

    @property
    def every_table(self) -> tuple[ReportTable, ...]:
        """The tables that are files: the tiles of the first screen, then those of the page."""
        return (*(() if self.screen is None else (self.screen.tiles,)), *self.tables)

    @property
    def first_commands(self) -> tuple[Command, ...]:
        """The commands of the first screen: of an unfinished launch that which goes on with it, else the first two."""
        going_on = tuple(command for command in self.commands if command.line.startswith("nmlab resume"))
        return going_on or self.commands[:FIRST_COMMANDS]

    @property
    def first_figure(self) -> FigureFile | None:
        """The figure of the first screen."""
        return next((figure for figure in self.drawn if self.screen is not None and figure.key in FIRST), None)

    @property
    def heading(self) -> str:
        """The title of the study, or else its name."""
        return self.title or self.study

    @property
    def lead(self) -> tuple[ReportTable, ...]:
        """The leading tables, which come before the figures."""
        return tuple(table for table in self.tables if _leads(table))

    @property
    def details(self) -> tuple[ReportTable, ...]:
        """All other tables, which come after the figures."""
        return tuple(table for table in self.tables if not _leads(table))

    @property
    def drawn(self) -> tuple[FigureFile, ...]:
        """The figures that have data."""
        return tuple(figure for figure in self.figures if not figure.skipped)

    @property
    def later_figures(self) -> tuple[FigureFile, ...]:
        """The figures that have data, without that of the first screen."""
        return tuple(figure for figure in self.drawn if figure is not self.first_figure)

    @property
    def undrawn(self) -> tuple[FigureFile, ...]:
        """The figures that lack data, each with its reason."""
        return tuple(figure for figure in self.figures if figure.skipped)


def _leads(table: ReportTable) -> bool:
    return table.key.partition("-")[0] in LEADING
