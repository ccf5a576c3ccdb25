"""Find a model's files: the built-in model, a local Hugging Face folder, or a hub id of Hugging Face."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.near_files import file_hint
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.models.stored import check_stored

BUILTIN = {"builtin:tiny": Path(__file__).parent / "tiny"}

# Only data is fetched: no pickled weights, no code.
_SMALL = ["*.json"]  # fetched first, because they show whether the weights are of use
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
# Without these options transformers asks at the terminal whether to run code that comes with a model.
DATA_ONLY: JsonObject = {"local_files_only": True, "trust_remote_code": False}


def locate(source: ModelSource) -> Path:
    """Return the folder that holds the model's configuration, tokenizer and safetensors weights.

    A hub id is downloaded into the Hugging Face cache unless it is there already; ``HF_HUB_OFFLINE=1`` keeps to the
    cache. Raises ``SourceError`` with what to do when the source cannot be reached or is not a safetensors checkpoint.
    """
    name = source.source
    if name.startswith("builtin:"):
        if name not in BUILTIN:
            raise SourceError(unknown_name(name, kind="model", known=BUILTIN))
        return _checked(BUILTIN[name], name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder.resolve(), name)
    if _reads_as_path(name):
        meant = file_hint(folder) or "; give a Hugging Face folder, a hub id or builtin:tiny"
        raise SourceError(f"model folder {name!r} does not exist{meant}")
    return _checked(_download(name, source.revision), name)


def _reads_as_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _download(name: str, revision: str | None) -> Path:
    try:
        check_stored(Path(snapshot_download(name, revision=revision, allow_patterns=_SMALL)), name=name)
        return Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED))
    except HFValidationError as error:
        raise SourceError(f"model {name!r} is neither a folder here nor a hub id: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SourceError(
            f"model {name!r} is not a folder here and could not be fetched from Hugging Face ({type(error).__name__}); "
            "check the id, revision and network, or download it elsewhere and give its folder"
        ) from error


def _checked(folder: Path, name: str) -> Path:
    check_stored(folder, name=name)
    if not (folder / "config.json").is_file():
        raise SourceError(f"model {name!r}: {folder} holds no config.json; it is not a Hugging Face checkpoint")
    if not any(folder.glob("*.safetensors")):
        raise SourceError(
            f"model {name!r}: {folder} holds no .safetensors file; convert the weights to safetensors first"
        )
    return folder
