"""Sentences on a proposal: what was read, fitted and assumed, and how far it extrapolates."""

from collections.abc import Sequence

from nmlab.reports.scaling.evidence import BestPlace
from nmlab.reports.scaling.flips import expected_flips
from nmlab.reports.scaling.law import Law
from nmlab.reports.scaling.proposal import PRIORS, Range, SpaceProposal
from nmlab.reports.values import counted

FAR = 10.0
NAMES = {"magnitude": "logit_magnitude", "learning_rate": "learning_rate", "steps": "steps"}
_WALK = (
    "A walk_rate in place of learning_rate needs no forecast: search 0.05 to 0.3. 0.05 to 0.2 did best on small "
    "models, by text and number of steps; on a model of 83,000 groups, with few forwards, none helped."
)
"""docs/reports.md, "From small models to a large one"."""
WHAT = {
    "flips": "expected flips per step",
    "movement": "learning rate x deviation probability x steps",
    "steps": "steps",
}


def sentences(places: Sequence[BestPlace], proposal: SpaceProposal) -> tuple[str, ...]:
    """Return the sentences on the evidence, the laws, the proposal and its cautions."""
    return (
        *(_place_sentence(place) for place in places),
        *(_law_sentence(name, law) for name, law in proposal.laws.items()),
        _proposal_sentence(proposal),
        _reach_sentence(proposal),
        *_limits_sentence(places, proposal),
        *_published_sentence(proposal),
        *(_edge_sentence(place) for place in places if place.at_edge),
        *_steps_sentence(places),
        "The space holds the central 80% of logit magnitude and learning rate; the points are matched pairs of both.",
        _WALK,
    )


def _place_sentence(place: BestPlace) -> str:
    size, best = place.size, place.best
    flips = expected_flips(best.magnitude, groups=size.groups, n=size.n, m=size.m)
    tried = counted(len(size.tried), noun="configuration")
    return (
        f"{size.model} at {size.n}:{size.m}: {size.groups:,} groups, {tried}; best at logit_magnitude "
        f"{best.magnitude:g} ({flips:,.0f} groups flip per step), learning_rate {best.learning_rate:g}, "
        f"{best.steps:,} steps."
    )


def _law_sentence(name: str, law: Law) -> str:
    low, high = law.exponent_interval()
    interval = f"{law.exponent:.2f} [{low:.2f}, {high:.2f}]"
    if law.sizes == 1:
        because = PRIORS[name].because
        return f"{WHAT[name]} ~ groups^{interval}: ASSUMED, since one model size does not determine it: {because}."
    return (
        f"{WHAT[name]} ~ groups^{interval}: fitted to {law.sizes} sizes, with a prior of {PRIORS[name].mean:g} ± "
        f"{2 * PRIORS[name].deviation:g} from theory ({PRIORS[name].because})."
    )


def _proposal_sentence(proposal: SpaceProposal) -> str:
    return (
        f"For {proposal.groups:,} groups of {proposal.n}:{proposal.m}, with 95% prediction intervals: logit_magnitude "
        f"{_shown(proposal.logit_magnitude)}, learning_rate {_shown(proposal.learning_rate)}, steps "
        f"{_shown(proposal.steps)}, {_shown(proposal.flips)} flips per step."
    )


def _reach_sentence(proposal: SpaceProposal) -> str:
    times = proposal.extrapolation
    if times <= 1:
        return "The model is no larger than the largest one tried."
    far = " That is far: test a model of intermediate size before trusting it." if times > FAR else ""
    return f"The model has {times:,.3g} times the groups of the largest one tried.{far}"


def _limits_sentence(places: Sequence[BestPlace], proposal: SpaceProposal) -> tuple[str, ...]:
    if len({place.size.groups for place in places}) > 1:
        return ()
    number, share = proposal.limits
    return (
        f"The same number of flips per step as on the model tried gives logit_magnitude {number:.2f}, the same share "
        f"of the groups {share:.2f}. The proposal lies between; a second model size would decide.",
    )


def _published_sentence(proposal: SpaceProposal) -> tuple[str, ...]:
    found = proposal.published
    if found is None:
        return ()
    printed = [", ".join(f"{value:g}" for value in own) for own in (found.printed_magnitudes, found.printed_rates)]
    where = "inside the intervals" if found.is_inside else "NOT inside the intervals"
    return (
        f"Check: for the papers' 7B models the same laws predict logit_magnitude {_shown(found.logit_magnitude)} and "
        f"learning_rate {_shown(found.learning_rate)}; published are {printed[0]} and {printed[1]}, {where}.",
    )


def _edge_sentence(place: BestPlace) -> str:
    names = " and ".join(NAMES[name] for name in place.at_edge)
    return (
        f"Careful: at {place.size.groups:,} groups the best {names} is the smallest or largest value tried; the "
        "true best may lie beyond, and no interval here covers that."
    )


def _steps_sentence(places: Sequence[BestPlace]) -> tuple[str, ...]:
    if all(len(place.size.values("steps")) == 1 for place in places):
        return ("Careful: steps were not varied at any size, so the proposed steps rest on a choice, not a finding.",)
    return ()


def _shown(found: Range) -> str:
    low, middle, high = (
        f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in (found.low, found.middle, found.high)
    )
    return f"{middle} [{low}, {high}]"
