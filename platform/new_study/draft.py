"""A study that is being written: its numbers so far, and its YAML with the reason of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nmlab.platform.new_study.ranges import Advice
from nmlab.platform.new_study.request import NewStudyRequest
from nmlab.platform.new_study.sizes import Sizes
from nmlab.platform.new_study.texts import ThreeTexts
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.places import SettingPlaces
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.values import Scalar
from nmlab.trials.contract.wording import shown
from nmlab.trials.files.checked_json import nmlab_version

SEEDS = (0, 1, 2)
TOP, FRESH = 3, 5
"""Configurations that are confirmed, and the fresh seeds of each."""


@dataclass(frozen=True)
class Draft:
    """The numbers of a study.

    Attributes:
        request: what was asked for.
        texts: the three texts.
        sizes: of the texts.
        advice: what is searched.
        baselines: rules that the search is compared with.
        dtype: number format of the weights, and its reason.
        replicas: copies of the model, and the trials on each, with the reason.
        micro_batch: sequences that go through the model at once; None if a whole minibatch fits.
        configurations: that are tried, and steps of a trial, with the reason.
    """

    request: NewStudyRequest
    texts: ThreeTexts
    sizes: Sizes
    advice: Advice
    baselines: Sequence[str]
    dtype: tuple[str, str]
    replicas: tuple[int, int, str] = (1, 1, "one trial at a time")
    micro_batch: int | None = None
    configurations: int = 24
    steps: int = 100
    time_reason: str = ""

    @property
    def concurrency(self) -> int:
        """Trials that run at once."""
        return self.replicas[0] * self.replicas[1]

    @property
    def learned_trials(self) -> int:
        """The trials of the search and of its confirmation."""
        return self.configurations * len(SEEDS) + min(TOP, self.configurations) * FRESH

    def study(self) -> Study:
        """Return the study; messages about it name its keys."""
        return loader.loads(self.text()).with_places(SettingPlaces())

    def text(self) -> str:
        """Return the study as YAML; whatever has a number has its reason in a comment before it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        request = self.request
        yield f"# nmlab {nmlab_version()}: {request.name}, written by `nmlab new`"
        yield from _comment(
            "`nmlab plan` with this file says what it takes, `nmlab sweep` runs it. Every number is a proposal with "
            "its reason; docs/guide.md explains the keys."
        )
        yield f"name: {request.name}"
        yield f"title: {_quoted(f'{request.method} at {request.pattern} on {request.model}')}"
        question = f"Which {request.method} mask at {request.pattern} keeps the most of this model on this text?"
        yield f"question: {_quoted(question)}"
        yield ""
        yield from self._model()
        yield ""
        yield from self._data()
        yield ""
        yield from self._space()
        yield ""
        yield from self._search()

    def _model(self) -> Iterator[str]:
        dtype, reason = self.dtype
        names = _flow([_quoted(each) for each in self.request.leave_dense])
        dense = f", leave_dense: {names}" if self.request.leave_dense else ""
        yield from _comment(f"{dtype}: {reason}.")
        yield f"model: {{source: {_quoted(self.request.model)}, dtype: {dtype}{dense}}}"
        yield f'pattern: "{self.request.pattern}"'
        yield f"method: {self.request.method}"

    def _data(self) -> Iterator[str]:
        sizes, reasons = self.sizes, self.sizes.reasons
        yield from _comment(
            f"{self.texts.how[0].upper()}{self.texts.how[1:]}. Masks learn from calibration, configurations are chosen "
            "on validation, results are reported on evaluation; `nmlab plan` checks that they do not overlap."
        )
        yield "data:"
        length = {"sequence_length": sizes.length}
        yield from _comment(
            f"sequence_length: {reasons['sequence_length']}. samples: {reasons['samples']}. batch_size: "
            f"{reasons['batch_size']}.",
            indent=2,
        )
        micro = {}
        if self.micro_batch is not None:
            micro = {"micro_batch": self.micro_batch}
            yield from _comment("micro_batch: so many sequences at once fit; it changes rounding only.", indent=2)
        calibration = {"samples": sizes.samples, **length, "batch_size": sizes.batch, **micro}
        yield self._text("calibration", calibration)
        for name in ("validation", "evaluation"):
            yield from _comment(f"windows: {reasons[name]}. batch_size: windows of a forward, as above.", indent=2)
            batch = {"batch_size": min(self.micro_batch or sizes.batch, sizes.windows[name])}
            yield self._text(name, {**length, "windows": sizes.windows[name], **batch})

    def _text(self, name: str, more: Mapping[str, Scalar]) -> str:
        given = {key: _quoted(value) for key, value in self.texts.sections[name].items()}
        return f"  {name}: {_flow_mapping({**given, **more})}"

    def _space(self) -> Iterator[str]:
        advice = self.advice
        reason = advice.steps_reason if self.steps == advice.steps else "what the budget allows"
        yield "fixed:"
        yield from _comment(f"steps: {reason}.", indent=2)
        yield f"  steps: {self.steps}"
        for name, item in advice.fixed.items():
            yield from _comment(f"{name}: {item.reason}.", indent=2)
            yield f"  {name}: {item.entry}"
        yield from _comment(" ".join(advice.evidence))
        yield "space:"
        for name, item in advice.space.items():
            yield from _comment(f"{name}: {item.reason}.", indent=2)
            yield f"  {name}: {item.entry}"
        yield from _comment("The dense model, and rules that learn nothing, which a learned mask has to beat.")
        yield f"baselines: {_flow(self.baselines)}"

    def _search(self) -> Iterator[str]:
        yield "search:"
        yield "  algorithm: tpe"
        yield from _comment(f"samples: {self.time_reason}.", indent=2)
        yield f"  samples: {self.configurations}"
        if self.advice.first:
            yield from _comment("First, what worked at a small size.", indent=2)
            yield f"  initial_points: [{', '.join(map(_flow_mapping, self.advice.first))}]"
        yield from _comment(
            f"The best of many looks better than it is: {TOP} run again on {FRESH} fresh seeds, which the report rests "
            "on.",
            indent=2,
        )
        yield f"  confirm: {{top: {TOP}, seeds: {FRESH}}}"
        yield from _comment("Three seeds are the fewest that a test can use.")
        yield f"seeds: {_flow(SEEDS)}"
        count, slots, reason = self.replicas
        yield from _comment(f"{reason[0].upper()}{reason[1:]}.")
        yield f"replica: {{count: {count}, slots: {slots}}}"
        yield from _comment(
            f"{self.request.budget} on {_slots(self.concurrency)}, in seconds of all trials together: then nothing "
            "more is proposed, and what the confirmation takes is kept for it. Estimates can be off by a factor of "
            "two or three."
        )
        yield f"budget: {{total: {{seconds: {self.request.budget_seconds * self.concurrency}}}}}"


def _slots(count: int) -> str:
    return "one slot" if count == 1 else f"{count} slots"


def _comment(text: str, *, indent: int = 0, width: int = 116) -> Iterator[str]:
    """Yield a comment, broken into lines."""
    lead, line = f"{' ' * indent}#", ""
    for word in text.split():
        if len(lead) + len(line) + len(word) + 1 > width and line:
            yield lead + line
            line = ""
        line += f" {word}"
    yield lead + line


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _flow(values: Sequence[Scalar]) -> str:
    return f"[{', '.join(map(_scalar, values))}]"


def _flow_mapping(values: Mapping[str, Scalar]) -> str:
    return f"{{{', '.join(f'{name}: {_scalar(value)}' for name, value in values.items())}}}"


def _scalar(value: Scalar) -> str:
    return value if isinstance(value, str) else shown(value)
