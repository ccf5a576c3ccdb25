"""Renderers of the same values as HTML, Markdown, LaTeX, CSV and JSON; they compute nothing."""

from nmlab.reports.render.csv import csv_text
from nmlab.reports.render.html import html_text
from nmlab.reports.render.json import json_text, table_json
from nmlab.reports.render.latex import latex_files, latex_text
from nmlab.reports.render.markdown import markdown_text

__all__ = ["csv_text", "html_text", "json_text", "latex_files", "latex_text", "markdown_text", "table_json"]
