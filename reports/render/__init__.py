"""Renderers: one document, written as HTML, Markdown, LaTeX and CSV with the same values in each."""

from nmlab.reports.render.csv import csv_text
from nmlab.reports.render.html import html_text
from nmlab.reports.render.latex import latex_text
from nmlab.reports.render.markdown import markdown_text

__all__ = ["csv_text", "html_text", "latex_text", "markdown_text"]
