"""The model card of an exported checkpoint: what it is, where it comes from, and what it is not."""

import re

from nmlab.trials.contract.escaping import markdown_code as code
from nmlab.trials.contract.escaping import markdown_text as escaped
from nmlab.trials.contract.values import JsonMapping

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_DENSE = (
    "The weights that the mask drops are stored as zeros, so this folder loads like any other, takes the memory of "
    "the dense model\nand runs at its speed. A runtime gains from the pattern only where it has kernels for it."
)


def model_card(facts: JsonMapping, *, form: str = _DENSE) -> str:
    """Return the README.md of an export; ``facts`` are those of ``describe`` with the tied and untouched modules.

    ``form`` says how the weights are stored and who can use them.
    """
    base = facts["base_model"]
    source = base["source"] if base["revision"] is None else f"{base['source']} at {base['revision']}"
    rows = {
        "base model": f"{_code(source)}, weights digest {_code(base['digest'])} in {escaped(base['dtype'])}",
        "pattern": f"{facts['pattern']}: of every M consecutive inputs of a linear layer N are kept",
        "coverage": escaped(facts["coverage"]),
        "method": escaped(facts["method"] or "not known here"),
        "trial": _code(facts["trial_key"]) if facts["trial_key"] else "none",
        "mask digest": _code(facts["mask_digest"]),
        "not pruned": ", ".join(_code(name) for name in (*facts["not_pruned"], *facts["left_dense"])) or "none",
        "tied": "; ".join(" = ".join(_code(name) for name in group) for group in facts["tied"]) or "none",
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    front = _front(base["source"])
    return _TEXT.format(pattern=facts["pattern"], source=escaped(source), front=front, form=form, table=table)


def _code(text: str) -> str:
    return code(str(text), in_table=True)


def _front(source: str) -> str:
    """Return the card's front matter, with the base model where it is a hub id; a hub knows no folders."""
    base = f"base_model: {source}\n" if _HUB_ID.fullmatch(source) else ""
    return f"---\n{base}tags: [sparse, pruned]\n---\n"


_TEXT = """{front}
# {source}, pruned to {pattern}

Written by nmlab. {form}

| | |
| --- | --- |
{table}

`nmlab evaluate` on this folder checks the pattern of every layer and measures perplexity.
"""
