"""What the end of a trial says in tags of its run."""

from collections.abc import Mapping, Sequence

from nmlab.platform.records.payloads import ResultRecord
from nmlab.trials.contract import run_tags

LONGEST_TEXT = 5000
"""Characters of a tag, below every store's limit."""
_OF_ONE_END = {run_tags.COST}
"""Tags that hold for one end of a trial only; a later end removes them."""


def end_tags(result: ResultRecord) -> dict[str, str]:
    """Return the tags of a trial's end, its status apart, which is written last."""
    own = {
        run_tags.STATUS_REASON: result["reason"][:LONGEST_TEXT],
        **notes_tag(result.get("notes", ())),
        run_tags.INITIAL_MASK_DIGEST: ",".join(result.get("initial_masks", {})),
        run_tags.MODEL_DIGEST: result.get("model_digest", ""),
    }
    facts = {run_tags.fact_tag(name): text[:LONGEST_TEXT] for name, text in result.get("facts", {}).items()}
    return {**{name: text for name, text in own.items() if text}, **facts}


def stale_tags(result: ResultRecord, *, before: Mapping[str, str]) -> list[str]:
    """Return the tags of an earlier end that no longer hold: the trial was stopped, lost or had failed, and resumed.

    ``before`` are those that the run has.
    """
    of_facts = _OF_ONE_END - {run_tags.fact_tag(name) for name in result.get("facts", {})}
    gone = of_facts if result["reason"] else of_facts | {run_tags.STATUS_REASON}
    return sorted(gone & {*before})


def notes_tag(notes: Sequence[str]) -> dict[str, str]:
    """Return the tag with what a reader must know besides the numbers; none without notes."""
    return {run_tags.NOTES: "\n".join(notes)[:LONGEST_TEXT]} if notes else {}
