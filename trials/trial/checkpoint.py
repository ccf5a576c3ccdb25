"""Checkpoints of one trial: written atomically, and found by listing the trial's folder."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmlab.trials.contract.errors import CheckpointError
from nmlab.trials.contract.run_artifacts import CHECKPOINT_FILES, checkpoint_file, checkpoint_step
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.files.atomic_file import atomic_file
from nmlab.trials.files.checked_json import NewerFormatError, check_format, nmlab_version
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup

FORMAT = 1  # checkpoints of the first version do not say it
_KEEP = 2  # the newest, and the one before it in case the newest is damaged


@dataclass(frozen=True)
class Checkpoint:
    """The state after ``step`` steps: tensors of the run and plain values of the loop."""

    step: int
    tensors: dict[str, Tensor]
    values: JsonObject


class CheckpointFolder:
    """The checkpoints of the trial ``key`` in a folder.

    With ``read_only`` another process runs the trial: nothing is saved, and nothing is removed, because a file that
    looks left over may be one that is being written.
    """

    def __init__(self, folder: Path, *, key: str, read_only: bool = False) -> None:
        self._folder, self._key, self._read_only = folder, key, read_only
        self.damaged: list[str] = []
        """The damaged files that ``newest`` skipped, each with what is wrong with it."""

    def save(self, step: int, *, tensors: Mapping[str, Tensor], values: Mapping[str, object]) -> Path:
        """Write a checkpoint, flush it to the disk, and remove all but the newest two; return its path."""
        assert not self._read_only
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(step)
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        written_by = {"format": str(FORMAT), "nmlab": nmlab_version()}
        header = {**written_by, "key": self._key, "step": str(step), "values": json.dumps(values)}
        header["digest"] = _digest(header, plain)
        with atomic_file(path) as partial:
            safetensors.torch.save_file(plain, partial, metadata=header)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        for old in self._paths()[:-_KEEP]:
            old.unlink(missing_ok=True)
        return path

    def newest(self, *, pipeline: PipelineGroup = SINGLE_PROCESS) -> Checkpoint | None:
        """Return the newest checkpoint that can be read, or None where there is none.

        A damaged file is skipped and named in ``damaged``. The ranks of a ``pipeline``, each with its own folder, take
        the newest checkpoint that all of them can read. Unless it is ``read_only``, a damaged file is renamed to
        ``*.damaged``, and partial files of a process that was killed are removed.

        Raises ``CheckpointError`` for a file of another trial, and ``NewerFormatError`` for one of a newer nmlab.
        """
        for left in () if self._read_only else self._folder.glob("*.partial"):
            left.unlink(missing_ok=True)
        steps = pipeline.all_gather([_step_of(path) for path in self._paths()])
        for step in sorted(set.intersection(*map(set, steps)), reverse=True):
            read = self._read_undamaged(self._path(step))
            if all(pipeline.all_gather(read is not None)):
                return read
        return None

    def _read_undamaged(self, path: Path) -> Checkpoint | None:
        try:
            return self._read(path)
        except (CheckpointError, NewerFormatError):
            raise
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
            if not self._read_only:  # there the file may also be an old one, removed since the folder was listed
                path.rename(path.with_suffix(".damaged"))
                self.damaged.append(f"{path.name} is damaged ({(str(error) or type(error).__name__).splitlines()[0]})")
            return None

    def _path(self, step: int) -> Path:
        return self._folder / checkpoint_file(step)

    def _paths(self) -> list[Path]:
        return sorted(path for path in self._folder.glob(CHECKPOINT_FILES) if checkpoint_step(path.name) is not None)

    def _read(self, path: Path) -> Checkpoint:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if header.pop("digest") != _digest(header, tensors):
            raise ValueError("its contents do not match its digest")
        record = {"format": int(header.get("format", 0)), "nmlab": header.get("nmlab", "")}
        check_format(record, kind="checkpoint", path=path, format=FORMAT)
        if header["key"] != self._key:
            raise CheckpointError(f"{path} belongs to trial {header['key']}, not to {self._key}")
        return Checkpoint(int(header["step"]), tensors, json.loads(header["values"]))


def saved_values(folder: Path, *, key: str) -> tuple[int, JsonObject] | None:
    """Return step and plain values of the newest checkpoint of a trial that can be read, or None where there is none.

    For processes that do not run the trial: tensors are not read, and nothing in the folder is changed. For a model in
    pipeline stages the checkpoints of the first stage are read, which hold the values of the trial.
    """
    found = (*folder.glob(CHECKPOINT_FILES), *folder.glob(f"shard-0-of-*/{CHECKPOINT_FILES}"))
    for path in sorted(found, key=_step_of, reverse=True):
        with suppress(OSError, safetensors.SafetensorError, ValueError, KeyError):
            with safetensors.safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
            if header["key"] == key:
                return int(header["step"]), json.loads(header["values"])
    return None


def _step_of(path: Path) -> int:
    return checkpoint_step(path.name) or 0


def _digest(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(json.dumps(dict(header), sort_keys=True).encode(), digest_size=8)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
