"""The section of the view on the best so far beside the best baseline, and on how search and confirmation stand."""

from collections.abc import Iterable, Iterator

from nmlab.platform.launches.confirming import confirmation_line
from nmlab.platform.launches.snapshot import Snapshot
from nmlab.platform.launches.standings import OnFreshSeeds, Standing, read_standing
from nmlab.platform.launches.view.texts import counted, number
from nmlab.platform.launches.view.view_line import ViewLine, more, paragraph, row


def best_section(snapshot: Snapshot, width: int, shown: int) -> Iterable[ViewLine]:
    """Yield the metric, the standing of each pattern (``shown`` of them), and how search and confirmation stand."""
    standings = [read_standing(record) for record in snapshot.get("best", ())]
    is_lowest = snapshot["mode"] == "min"
    yield from paragraph(f"{snapshot['metric']}, {'lower' if is_lowest else 'higher'} is better", width, style="quiet")
    if not any(standing.text for standing in standings):
        yield from row("best so far", "no configuration has finished on all of its seeds", width)
    for standing in standings[:shown]:
        if len(standings) > 1:
            yield from paragraph(f"pattern {standing.pattern}", width, style="quiet")
        yield from _standing(standing, width, is_lowest=is_lowest)
    yield from more(len(standings) - shown, "pattern", width)
    if stopped := snapshot.get("search_stopped"):
        yield from paragraph(stopped, width)
    if (confirmation := snapshot.get("confirmation")) is not None:
        yield from paragraph(confirmation_line(confirmation), width)


def _standing(standing: Standing, width: int, *, is_lowest: bool) -> Iterator[ViewLine]:
    if standing.mean is not None:
        name = "best so far" if not standing.looked_at else f"best of {standing.looked_at}"
        basis = f"mean of {standing.seeds} seeds" if standing.seeds > 1 else "one seed"
        text = f"{number(standing.mean)} ({basis})"
        yield from row(name, f"{text}{_on_fresh(standing.fresh)}", width, style="strong")
        yield from row("", standing.label, width)
    if standing.baseline_mean is not None:
        text = f"{number(standing.baseline_mean)}{_on_fresh(standing.baseline_fresh)}"
        yield from row("best baseline", text, width, style="strong")
        yield from row("", standing.baseline, width)
    if difference := _difference(standing, is_lowest=is_lowest):
        yield from row("difference", difference, width)
    if standing.infeasible:
        breaks = "breaks" if standing.infeasible == 1 else "break"
        text = f"{counted(standing.infeasible, 'configuration')} {breaks} search.constraints"
        yield from paragraph(text, width)


def _on_fresh(fresh: OnFreshSeeds | None) -> str:
    """Return what a configuration reached on fresh seeds, or how far it is there; "" if it is not confirmed."""
    if fresh is None:
        return ""
    if fresh.ended < fresh.planned:
        return f"; {fresh.ended} of {fresh.planned} fresh seeds have ended"
    if fresh.mean is None:
        return f"; none of {counted(fresh.planned, 'fresh seed')} finished"
    of_all = "" if fresh.finished == fresh.planned else f" of {fresh.planned}"
    return f"; {number(fresh.mean)} on {fresh.finished}{of_all} fresh seeds"


def _difference(standing: Standing, *, is_lowest: bool) -> str:
    """Return by how much the best differs from the best baseline, on fresh seeds where both have all of theirs."""
    fresh = (_settled(standing.fresh), _settled(standing.baseline_fresh))
    on_fresh = None not in fresh
    best, baseline = fresh if on_fresh else (standing.mean, standing.baseline_mean)
    if best is None or baseline is None:
        return ""
    where = " on fresh seeds" if on_fresh else ""
    if best == baseline:
        return f"none between the best and the best baseline{where}"
    is_better = (best < baseline) == is_lowest
    return f"{number(abs(best - baseline))} {'better' if is_better else 'worse'} than the best baseline{where}"


def _settled(fresh: OnFreshSeeds | None) -> float | None:
    """Return the mean over fresh seeds once all of them have ended."""
    return None if fresh is None or fresh.ended < fresh.planned else fresh.mean


def best_text(snapshot: Snapshot) -> str:
    """Return the values of the best so far and of the best baseline, without their settings; "" before there are."""
    found = [read_standing(record) for record in snapshot.get("best", ())]
    parts = []
    for standing in found:
        values = {"best so far": standing.mean, "best baseline": standing.baseline_mean}
        named = ", ".join(f"{name} {number(value)}" for name, value in values.items() if value is not None)
        parts.append(f"{standing.pattern} {named}" if len(found) > 1 and named else named)
    return "; ".join(part for part in parts if part)
