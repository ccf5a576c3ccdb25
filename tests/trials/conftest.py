"""Small real models, a small real text, and one-trial configurations for the tests of ``nmlab.trials``."""

import gc
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from computed_once import traced_once
from pipelines import run_pipeline  # noqa: F401 (a fixture)
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource
from nmlab.trials.models.frozen import weights_digest
from nmlab.trials.models.prunable import prunable_layers
from nmlab.trials.models.sources import BUILTIN

PARITY = Path(__file__).parents[1] / "parity"
VOCABULARY = 512

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_OWN_SIZES = {
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4},
    "gemma3_text": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4, "sliding_window_pattern": 2},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "qwen3": {"head_dim": 8},
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Use one thread: with tensors this small a second one costs time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _imports_are_no_garbage():
    """Exempt imports from garbage collection: every trial begins with a full one, which takes 0.3 s with them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def _models_are_traced_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Trace equal models once, but where models are what is tested: a trace takes as long as a short trial."""
    with nullcontext() if "models" in request.path.parts else traced_once():
        yield


@pytest.fixture(scope="session")
def load_parity():
    """Read one golden file as tensors: load_parity("maskpro/trace24_seed0")."""

    def load(name: str) -> dict[str, torch.Tensor]:
        with np.load(PARITY / f"{name}.npz") as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return load


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(BUILTIN["builtin:tiny"], local_files_only=True)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., transformers.PreTrainedModel]:
    """Make a randomly initialised model of an architecture: random_model("llama", num_hidden_layers=3)."""

    def make(architecture: str, **changes):
        sizes = {**_SIZES, **_OWN_SIZES.get(architecture, {}), **changes}
        config = AutoConfig.for_model(architecture, **sizes)
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def freeze(tokenizer) -> Callable[..., FrozenModel]:
    """Make a frozen model of a module, without writing it to disk."""

    def make(module, leave_dense=()) -> FrozenModel:
        source = ModelSource(source=f"test:{module.config.model_type}", leave_dense=leave_dense)
        layers = prunable_layers(module, leave_dense=leave_dense)
        return FrozenModel(source, module, tokenizer, layers, weights_digest(module))

    return make


@pytest.fixture(scope="session")
def text_file(tmp_path_factory) -> Path:
    """Twelve thousand characters of sentences over a small vocabulary, always the same."""
    draw = random.Random(0)
    words = ["mask", "weight", "of", "the", "layer", "keeps", "two", "and", "drops", "others", "sparse", "model"]
    sentences = (" ".join(draw.choices(words, k=draw.randint(4, 12))) + ".\n" for _ in range(270))
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(sentences), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_spec(text_file) -> Callable[..., TrialSpec]:
    """Make a trial of a few short steps: make_spec("maskpro", steps=12, evaluate_every=4)."""

    def make(method="maskpro", *, pattern="2:4", seed=0, budget=None, cadence=None, **hyperparameters) -> TrialSpec:
        small = {"steps": 12, "logit_magnitude": 3.0, "learning_rate": 5.0} if method == "maskpro" else {}
        return TrialSpec(
            method=method,
            pattern=pattern,
            seed=seed,
            hyperparameters={**small, **hyperparameters},
            model=ModelSource(source="test:llama"),
            calibration=CalibrationSpec(source=f"{text_file}[:50%]", samples=8, sequence_length=16, batch_size=2),
            evaluation=EvaluationSpec(source=f"{text_file}[50%:]", sequence_length=24, windows=6, batch_size=4),
            budget=budget or {},
            cadence=cadence or {},
        )

    return make


@pytest.fixture(scope="session")
def replica(random_model, freeze) -> ReplicaContext:
    """One frozen two-block Llama that all tests share."""
    return ReplicaContext(freeze(random_model("llama")))


@pytest.fixture(scope="session")
def make_context(replica, make_spec) -> Callable[..., TrialContext]:
    """Make the trial context of one run, with its own masked model and cost."""

    def make(pattern="2:4", *, seed=0, on=None) -> TrialContext:
        on = on or replica
        return TrialContext(
            replica=on,
            model=MaskedModel(on.frozen),
            pattern=Pattern.parse(pattern),
            calibration=make_spec().calibration,
            seed=seed,
        )

    return make


@pytest.fixture(scope="session")
def saved(random_model, tmp_path_factory) -> Callable[..., ModelSource]:
    """Write a random model of an architecture to a folder, for pipeline stages to load; equal arguments share one."""
    folders: dict[tuple, ModelSource] = {}

    def save(architecture: str, *, dtype="float32", **changes) -> ModelSource:
        key = (architecture, dtype, *sorted(changes.items()))
        if key not in folders:
            folder = tmp_path_factory.mktemp(architecture)
            random_model(architecture, **changes).to(getattr(torch, dtype)).save_pretrained(folder)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(BUILTIN["builtin:tiny"] / name, folder)
            folders[key] = ModelSource(source=str(folder), dtype=dtype)
        return folders[key]

    return save


@pytest.fixture(scope="session")
def load_stage() -> Callable[..., FrozenModel]:
    """Load a model, or a rank's stage of it, once for all tests that change no weight: load_stage(source, pipeline)."""
    loaded: dict[tuple, FrozenModel] = {}

    def load(source: ModelSource, pipeline) -> FrozenModel:
        key = (source.source, source.dtype, pipeline.size, pipeline.rank)
        if key not in loaded:  # on all ranks or on none
            loaded[key] = FrozenModel.load(source, pipeline=pipeline)
        return loaded[key]

    return load


_PHASES = ("load", "start", "learning", "evaluation")
_OF_THE_MACHINE = ("time/", "memory/peak", *(f"memory/{phase}_" for phase in _PHASES), "cost/seconds", "cost/spent")


class Listener:
    """Records every event; cancels the trial once ``cancel_at`` steps were recorded, or crashes after ``crash_at``."""

    def __init__(self, *, cancel_at: int | None = None, crash_at: int | None = None) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []
        self._cancel_at, self._crash_at = cancel_at, crash_at

    def metrics(self, step, values) -> None:
        self.points.append((step, dict(values)))
        if self._crash_at is not None and step >= self._crash_at:
            raise KeyboardInterrupt

    def cancelled(self) -> bool:
        return self._cancel_at is not None and bool(self.points) and self.points[-1][0] >= self._cancel_at

    def curve(self) -> dict[int, dict[str, float]]:
        """Return all values by step, except those that depend on the machine or on which trial came first."""
        merged: dict[int, dict[str, float]] = {}
        for step, values in self.points:
            kept = {name: value for name, value in values.items() if not name.startswith(_OF_THE_MACHINE)}
            kept = {name: value for name, value in kept.items() if not name.endswith("_seconds")}
            merged.setdefault(step, {}).update(kept)
        return merged


@pytest.fixture(scope="session")
def listener() -> type[Listener]:
    return Listener


_ELSEWHERE = """
import json, sys
from pathlib import Path
import torch
import nmlab.platform.cli, nmlab.trials.trial.loop
from nmlab.trials.data import python_docs
from nmlab.trials.files.tensor_file import write_tensors
from nmlab.trials.masks.randomness import keyed_generator
from nmlab.trials.models import ModelSource
from nmlab.trials.contract.trial_spec import TrialSpec
spec = TrialSpec(
    method="maskpro",
    pattern="2:4",
    seed=3,
    hyperparameters={"alpha": 0.9, "steps": 100, "initial_mask": "wanda"},
    model=ModelSource(source="builtin:tiny", dtype="bfloat16"),
    calibration={"source": "text.txt[:80%]"},
    evaluation={"source": "text.txt[80%:]"},
)
draws = keyed_generator(3, 7, "layer", 1).standard_exponential(50).tolist()
write_tensors(Path("tensors.safetensors"), {"a": torch.zeros(3)}, header={name: name for name in "qwertyuiop"})
found = {"keys": [spec.key, spec.configuration], "draws": draws, "digest": python_docs.digest()}
Path("found.json").write_text(json.dumps({**found, "modules": list(sys.modules)}))
"""


@pytest.fixture(scope="session")
def elsewhere(made_once) -> dict:
    """Return what another process with another hash seed finds: keys of a trial, draws of a key, bytes of a file."""

    def work(folder: Path) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": "12345"}
        subprocess.run([sys.executable, "-c", _ELSEWHERE], cwd=folder, env=environment, check=True)

    folder = made_once("elsewhere", work)
    return {**json.loads((folder / "found.json").read_text()), "file": (folder / "tensors.safetensors").read_bytes()}
