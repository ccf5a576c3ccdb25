"""What `nmlab.compare` returns: two sides with a verdict, or studies in one table."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.places import local_path
from nmlab.platform.api.rendering import html_page
from nmlab.trials.contract.near_names import unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from nmlab.reports.compare import Compared

FORMS = {".html": "html", ".md": "md", ".tex": "tex", ".csv": "csv", ".json": "json"}
"""The format of a file by its ending."""
DRAWINGS = (".svg", ".png")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sides with a verdict, or several studies in one table. As text it is Markdown; in a notebook a page is shown.

    Attributes:
        studies: what is compared, as ``STUDY``, ``STUDY@LAUNCH`` or ``STUDY@LAUNCH:SELECTOR``.
    """

    studies: tuple[str, ...]
    _compared: "Compared" = field(repr=False)

    @property
    def verdict(self) -> str:
        """One sentence: which side is better, by how much, and by what test; empty for one table of studies."""
        return self._compared.verdict

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting the numbers."""
        return self._compared.undrawn.warnings

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables; the first is the leading one, ``"differences"`` for two sides."""
        return self._compared.tables

    def text(self, form: str = "md", *, table: str = "") -> str:
        """Return it as ``"html"``, ``"md"``, ``"tex"``, ``"csv"`` or ``"json"``; raises ``ReportError`` else.

        LaTeX and CSV hold one table, by default the leading one; JSON holds all of them, or the one that is named.
        """
        return self._compared.text(form, table=table)

    def frame(self, table: str = "") -> "pd.DataFrame":
        """Return a table, by default the leading one, as a DataFrame with typed columns, those of its CSV.

        Raises ``ReportError`` for an unknown table.
        """
        return self._compared.frame(table)

    def write(self, path: str | Path, *, form: str = "", table: str = "") -> Path:
        """Write it to a file, in the format of the file's ending or in ``form``; ``.svg`` and ``.png`` are the figure.

        Returns:
            The file.

        Raises:
            ReportError: an unknown format or table, a figure where there is none, or a file that can't be written.
        """
        from nmlab.reports.read.errors import ReportError

        place = local_path(path, what="output file")
        content = self._content(place.suffix.lower(), form=form, table=table)
        try:
            place.write_bytes(content)
        except OSError as error:
            raise ReportError(f"the comparison can't be written to {place}: {error.strerror or error}") from error
        return place

    def _content(self, suffix: str, *, form: str, table: str) -> bytes:
        from nmlab.reports.read.errors import ReportError

        if not form and suffix in DRAWINGS:
            drawn = self._compared.document.drawn
            if not drawn:
                raise ReportError("only a comparison of two sides has a figure")
            return drawn[0].svg if suffix == ".svg" else drawn[0].png
        if not form and suffix not in FORMS:
            raise ReportError(unknown_name(suffix, kind="ending of a file", known=(*FORMS, *DRAWINGS)))
        return self.text(form or FORMS[suffix], table=table).encode()

    def __str__(self) -> str:
        return self.text("md")

    def _repr_html_(self) -> str:
        return html_page(self.text("html"), height=600)
