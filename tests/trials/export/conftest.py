"""Finished trials on small random models, as folders, for the tests of exports."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.evaluation import Perplexity
from nmlab.trials.export.subject import Base, Subject, open_subject
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.trial.artifacts import FinishedTrial, write_artifacts
from nmlab.trials.trial.evaluations import Measured


@pytest.fixture(scope="session")
def checkpoint(random_model, tokenizer, tmp_path_factory) -> Callable[..., Path]:
    """Save a random model of an architecture with a tokenizer, as a Hugging Face folder: checkpoint("opt")."""
    made: dict[str, Path] = {}

    def make(architecture="llama", **changes):
        key = f"{architecture}{sorted(changes.items())}"
        if key not in made:
            made[key] = tmp_path_factory.mktemp(architecture)
            random_model(architecture, **changes).save_pretrained(made[key])
            tokenizer.save_pretrained(made[key])
        return made[key]

    return make


@pytest.fixture(scope="session")
def finished_trial(checkpoint, tmp_path_factory) -> Callable[..., Path]:
    """Make the folder of a finished trial with the magnitude mask: finished_trial("qwen2", pattern="4:8")."""
    import numpy as np

    def make(architecture="llama", *, pattern="2:4", dtype="float32", doubled=False, **changes):
        source = ModelSource(source=str(checkpoint(architecture, **changes)), dtype=dtype)
        frozen = FrozenModel.load(source)
        weights = {at.name: frozen.module.get_submodule(at.name).weight.detach() for at in frozen.layers}
        masks = {name: topn(weight.abs().float(), Pattern.parse(pattern)) for name, weight in weights.items()}
        spec = TrialSpec(
            method="sparsegpt" if doubled else "magnitude",
            pattern=pattern,
            seed=0,
            model=source,
            calibration=CalibrationSpec(source="builtin:python-docs"),
            evaluation=EvaluationSpec(source="builtin:python-docs", sequence_length=32, windows=4),
        )
        folder = tmp_path_factory.mktemp("trial")
        finished = FinishedTrial(
            spec=spec,
            frozen=frozen,
            masks=masks,
            weights={name: 2 * weight for name, weight in weights.items()} if doubled else None,
            measured=Measured(Perplexity(np.ones(4), np.full(4, 32), np.full(4, 5)), None, None),
            tasks=None,
            history=None,
            metrics={},
            notes=[],
            started_from={},
        )
        write_artifacts(folder, finished)
        return folder

    return make


@pytest.fixture(scope="session")
def opened() -> Callable[..., Subject]:
    """Open a target on its own base model."""
    return lambda target, **base: open_subject(str(target), base=Base(**base))
