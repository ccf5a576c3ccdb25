"""Propose a study for a model and a text, and check it as `nmlab plan` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nmlab.platform.new_study.draft import Draft
from nmlab.platform.new_study.fit import fit_memory, fit_time
from nmlab.platform.new_study.model import ModelFacts, read_model
from nmlab.platform.new_study.ranges import advice
from nmlab.platform.new_study.request import NewStudyRequest
from nmlab.platform.new_study.sizes import fitting_sizes
from nmlab.platform.new_study.texts import three_texts
from nmlab.platform.planning.estimate import Estimate
from nmlab.platform.planning.study_plan import LaunchPlan, check_settings, plan_study
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.errors import OverlapError, SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.models import ModelSource
from nmlab.trials.sizing.preflight import PreflightFacts

_HALF_PRECISION_FROM = 500_000_000
"""Parameters."""


@dataclass(frozen=True)
class NewStudy:
    """A study that was written: its YAML with comments, and what it takes here.

    Attributes:
        text: the file.
        study: what it says.
        trials: in words.
        seconds: that it takes here, by an estimate.
    """

    text: str
    study: Study
    trials: str
    seconds: float

    def save(self, path: Path) -> None:
        """Write the file; raises ``ValueError`` where there is one, or it cannot be written."""
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self.text)
        except FileExistsError:
            raise ValueError(f"{path} is there already; expected another file, or that you remove it") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def propose_study(request: NewStudyRequest) -> NewStudy:
    """Return a study for what was asked; raises ``ValueError`` with one line for what cannot be."""
    request.check()
    pattern = Pattern.parse(request.pattern)
    source = ModelSource(source=request.model, leave_dense=request.leave_dense)
    model = read_model(source, pattern=pattern)
    texts = three_texts(request.texts, column=request.column)
    named = {name: given["source"] for name, given in texts.sections.items()}
    sizes = fitting_sizes(texts.tokens(model.tokenizer), context=model.context, sources=named)
    rule = "magnitude" if model.unmeasured else "wanda"
    smallest = sizes.samples % sizes.batch or sizes.batch
    found = advice(request.method, weights=model.weights, pattern=pattern, start=rule, sequences=smallest)
    draft = Draft(
        request=request,
        texts=texts,
        sizes=sizes,
        advice=found,
        baselines=("dense", "magnitude") if model.unmeasured else ("dense", "magnitude", "wanda"),
        dtype=_dtype(model),
        steps=found.steps,
    )
    facts = _facts(draft)
    fitted = fit_memory(draft, facts)
    timed = fit_time(fitted)
    study = timed.study()
    check_settings(study)
    plan = LaunchPlan.unchecked(study, facts=facts)
    estimate = Estimate(plan, fitted.estimate.machine)
    estimate.check()
    return NewStudy(timed.text(), study, plan.trials_text, estimate.seconds)


def _facts(draft: Draft) -> PreflightFacts:
    """Return what the checks of a plan found out; says what to do where a text that was cut here repeats itself."""
    try:
        return plan_study(draft.study()).facts
    except OverlapError as error:
        if len(draft.request.texts) == len(draft.texts.sections):
            raise
        twice = "remove what the text holds twice, or give a text for each of calibration, validation and evaluation"
        raise SourceError(f"{str(error).rpartition(';')[0]}; {twice}") from error


def _dtype(model: ModelFacts) -> tuple[str, str]:
    if model.parameters < _HALF_PRECISION_FROM:
        return "float32", f"{model.parameters:,} parameters are few enough for exact weights"
    return "bfloat16", f"{model.parameters:,} parameters take half of the memory so"
