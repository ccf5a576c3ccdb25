"""The model card of an exported checkpoint: what it is, where it comes from, and what it is not."""

from collections.abc import Mapping
from typing import Any

_DENSE = (
    "The weights that the mask drops are stored as zeros, so this folder loads like any other, takes the memory of "
    "the dense model\nand runs at its speed. A runtime gains from the pattern only where it has kernels for it."
)


def model_card(facts: Mapping[str, Any], *, form: str = _DENSE) -> str:
    """Return the README.md of an export; ``facts`` are those of ``describe`` with the tied and untouched modules.

    ``form`` says how the weights are stored and who can use them.
    """
    base = facts["base_model"]
    source = base["source"] if base["revision"] is None else f"{base['source']} at {base['revision']}"
    method = facts["method"] or "not known here"
    rows = {
        "base model": f"`{source}`, weights digest `{base['digest']}` in {base['dtype']}",
        "pattern": f"{facts['pattern']}: of every M consecutive inputs of a linear layer N are kept",
        "coverage": facts["coverage"],
        "method": method,
        "trial": f"`{facts['trial_key']}`" if facts["trial_key"] else "none",
        "mask digest": f"`{facts['mask_digest']}`",
        "not pruned": ", ".join(f"`{name}`" for name in (*facts["not_pruned"], *facts["left_dense"])) or "none",
        "tied": "; ".join(" = ".join(f"`{name}`" for name in group) for group in facts["tied"]) or "none",
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    front = _front(base["source"])
    return _TEXT.format(pattern=facts["pattern"], source=source, front=front, form=form, table=table)


def _front(source: str) -> str:
    """Name the base model to hubs where it is a hub id; folders and built-in models mean nothing to them."""
    base = f"base_model: {source}\n" if source.count("/") == 1 and not source.startswith((".", "~", "/")) else ""
    return f"---\n{base}tags: [sparse, pruned]\n---\n"


_TEXT = """{front}
# {source}, pruned to {pattern}

Written by nmlab. {form}

| | |
| --- | --- |
{table}

`nmlab evaluate` on this folder checks the pattern of every layer and measures perplexity.
"""
