"""The table of the papers' claims with the verdicts of a study."""

from collections import Counter
from collections.abc import Sequence

from nmlab.reports.analysis.claims import ClaimVerdict, Judgement
from nmlab.reports.analysis.metrics import chosen_on
from nmlab.reports.values import Cell, Column, ReportTable, Row, without_empty_columns

CLAIM = Column("claim", "claim", is_prose=True)
SOURCE = Column(
    "source",
    "published in",
    help="tables and figures of the paper that the claim summarises; nmlab/NAME is a claim of ours about that study",
)
VERDICT = Column("verdict", "verdict")
EVIDENCE = Column("evidence", "evidence", is_prose=True)
SELECTED = Column("selected", "selected", help="sides chosen as the best of several, and on what", is_prose=True)
SCALE = Column("scale", "at small scale", help="how likely the effect shows in a small model: strong, medium, weak")
ORDER = {verdict: place for place, verdict in enumerate(ClaimVerdict)}


def claims_table(judgements: Sequence[Judgement], *, notes: Sequence[str] = ()) -> ReportTable:
    """Return one row for each claim of the study, reproduced ones first and untested ones last.

    Args:
        judgements: the claims with their checks.
        notes: sentences below the summary of the verdicts.
    """
    ordered = sorted(judgements, key=lambda item: ORDER[item.verdict])
    rows = tuple(_row(item) for item in ordered)
    return without_empty_columns(
        ReportTable(
            key="claims",
            title="Claims of nmlab" if _are_ours(judgements) else "The papers' claims",
            caption="Each claim with the test that decides it. Reproduced: every comparison it rests on is significant "
            "at 5% in the claimed direction. Contradicted: at least one is significant in the opposite direction. Not "
            "tested: a part of the evidence is missing. P-values are adjusted over all comparisons of this table; "
            "counts are the same in every run and need none. A verdict holds for this model, text and budget.",
            columns=(CLAIM, SOURCE, VERDICT, EVIDENCE, SELECTED, SCALE, Column("claim_id", "id")),
            rows=rows,
            notes=(summary_of(judgements), *notes) if judgements else (),
        )
    )


def summary_of(judgements: Sequence[Judgement]) -> str:
    """Return the verdicts in one sentence: ``Of 3 claims: 2 reproduced, 1 not tested at this scale.``"""
    counts = Counter(item.verdict for item in judgements)
    shown = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ClaimVerdict if counts[verdict])
    noun = "claim" if len(judgements) == 1 else "claims"
    whose = "nmlab" if _are_ours(judgements) else "the papers"
    return f"Of {len(judgements)} {noun} of {whose}: {shown}.{_about_selected(judgements)}"


def _are_ours(judgements: Sequence[Judgement]) -> bool:
    """Return whether all claims are of nmlab's own studies, none of a paper."""
    return bool(judgements) and all(item.claim.paper == "nmlab" for item in judgements)


def selected_text(item: Judgement) -> str:
    """Return which sides of a claim were selected, and on what: ``maskpro (best of 5): chosen on ...``."""
    if not item.selected:
        return ""
    metric = getattr(item.claim.test, "metric", None) or item.metric
    return f"{', '.join(item.selected)}: chosen {chosen_on(metric, objective=item.objective)}"


def _about_selected(judgements: Sequence[Judgement]) -> str:
    """Return how many decided claims compare a selected configuration, and whether the deciding numbers selected it."""
    decided = [item for item in judgements if item.selected and item.verdict is not ClaimVerdict.NOT_TESTED]
    if not decided:
        return ""
    verb = "compares" if len(decided) == 1 else "compare"
    is_elsewhere = any(item.objective is not None and item.objective.selects_on_validation for item in decided)
    by = "on the validation text" if is_elsewhere else "by the same numbers"
    return f" {len(decided)} of these verdicts {verb} a configuration that was selected {by}."


def _row(item: Judgement) -> Row:
    claim = item.claim
    cells = (
        Cell(claim.says),
        Cell(", ".join(claim.items)),
        Cell(str(item.verdict), run_ids=item.run_ids),
        Cell(item.evidence, run_ids=item.run_ids),
        Cell(selected_text(item)),
        Cell(claim.scale),
        Cell(claim.id),
    )
    return Row(cells, run_ids=item.run_ids, kind="claim")
