"""A hook of MkDocs: READMEs of the code enter the navigation by themselves, so that a new one needs no line there."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from pages import documents

ROOT = Path(__file__).resolve().parents[2]
SECTION = "How it is built"


def on_config(config: Any) -> Any:
    """Append the pages of READMEs, each under the name of its folder, to their section of ``mkdocs.yml``."""
    (entries,) = (entry[SECTION] for entry in config["nav"] if SECTION in entry)
    entries += code_pages(ROOT)
    return config


def code_pages(root: Path) -> list[dict[str, str]]:
    """Return an entry of the navigation for every README of the code: the folder with a slash, and its page."""
    found = documents(root)
    return [{name.removesuffix("README.md"): page} for name, page in found.items() if page.startswith("code/")]
