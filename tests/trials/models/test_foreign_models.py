"""Models that come with code or pickles are refused, or read without them; none of their code is run."""

import builtins
import json
import pickle
import shutil

import pytest

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.data import TextSource
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.models.sources import BUILTIN
from nmlab.trials.sizing.dry_run import FakeTensorModel
from nmlab.trials.sizing.preflight import preflight

CODE = """
from pathlib import Path
Path({mark!r}).write_text("was run")
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
class ForeignConfig(PretrainedConfig):
    model_type = "foreign"
class ForeignModel(PreTrainedModel):
    config_class = ForeignConfig
class ForeignTokenizer(PreTrainedTokenizerFast):
    pass
"""
MAPS = {"AutoConfig": "foreign.ForeignConfig", "AutoModelForCausalLM": "foreign.ForeignModel"}


@pytest.fixture(autouse=True)
def _terminal_answers_yes(monkeypatch):
    """Answer yes where transformers asks at the terminal whether to run code."""
    monkeypatch.setattr(builtins, "input", lambda *_: "y")


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


@pytest.fixture
def foreign(tmp_path, mark):
    """Make the built-in model with other settings and a code file: foreign(config={...}); returns its source."""

    def make(*, config=None, tokenizer=None):
        folder = tmp_path / "model"
        shutil.copytree(BUILTIN["builtin:tiny"], folder)
        for name, changes in (("config.json", config), ("tokenizer_config.json", tokenizer)):
            held = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**held, **(changes or {})}))
        (folder / "foreign.py").write_text(CODE.format(mark=str(mark)))
        return ModelSource(source=str(folder))

    return make


def _preflight(source):
    text = {"source": "builtin:python-docs"}
    calibration, evaluation = CalibrationSpec(**text), EvaluationSpec(**text)
    return preflight(source, patterns=[Pattern(2, 4)], calibration=calibration, evaluation=evaluation)


@pytest.mark.parametrize("read", [_preflight, FrozenModel.load])
def test_a_model_that_needs_its_own_code_is_refused(foreign, mark, read):
    source = foreign(config={"model_type": "foreign", "auto_map": MAPS})
    with pytest.raises(SourceError, match="contains custom code") as refused:
        read(source)
    assert "\n" not in str(refused.value)
    assert not mark.exists()


def test_dry_runs_run_no_code_either(foreign, mark):
    with pytest.raises(ValueError, match="contains custom code"):
        FakeTensorModel(foreign(config={"model_type": "foreign", "auto_map": MAPS}))
    assert not mark.exists()


@pytest.mark.parametrize("read", [_preflight, FrozenModel.load])
def test_a_known_model_is_read_without_the_code_beside_it(foreign, mark, read):
    source = foreign(
        config={"auto_map": MAPS}, tokenizer={"auto_map": {"AutoTokenizer": [None, "foreign.ForeignTokenizer"]}}
    )
    read(source)
    assert FrozenModel.load(source).digest == FrozenModel.load(ModelSource(source="builtin:tiny")).digest
    assert not mark.exists()


class _Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return open, (str(self._mark), "w")


def test_pickled_weights_are_not_opened(tmp_path, mark, foreign):
    source = foreign()
    folder = tmp_path / "model"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(mark)))
    assert FrozenModel.load(source).digest == FrozenModel.load(ModelSource(source="builtin:tiny")).digest
    (folder / "model.safetensors").unlink()
    for read in (_preflight, FrozenModel.load):
        with pytest.raises(SourceError, match=r"holds no \.safetensors file; convert the weights to safetensors first"):
            read(source)
    assert not mark.exists()
    pickle.loads(pickle.dumps(_Bomb(mark))).close()
    assert mark.exists(), "the bomb works"


@pytest.mark.parametrize("name", ["text.pkl", "text.pt", "text.npz", "text.py"])
def test_a_text_is_no_file_of_another_kind(tmp_path, mark, name):
    from nmlab.trials.data.sources import read_documents

    (tmp_path / name).write_bytes(pickle.dumps(_Bomb(mark)))
    with pytest.raises(SourceError, match="expected"):
        read_documents(TextSource(str(tmp_path / name), part="evaluation"))
    assert not mark.exists()
