"""New weights of a method that changes them: a file beside the mask bundle, linked to it by digest."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from nmlab.trials.contract.run_artifacts import HEADER_DIGESTS, HEADER_FORMAT, HEADER_INFO, WEIGHTS_FORMAT
from nmlab.trials.files.tensor_file import read_tensors, tensor_digest, write_tensors
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import BundleInfo

_SUFFIX = ".weight"


def save_weights(path: Path, weights: Mapping[str, Tensor], *, masks: Mapping[str, Tensor], info: BundleInfo) -> None:
    """Write weights [out, in] by layer, zero where the mask is false, under the names the model gives its parameters.

    The file has the digest of its masks; the same weights give the same bytes.
    """
    assert weights.keys() == masks.keys()
    parameters = {f"{name}{_SUFFIX}": weights[name] * masks[name] for name in sorted(weights)}
    header = {
        HEADER_FORMAT: WEIGHTS_FORMAT,
        HEADER_INFO: json.dumps(asdict(info)),
        "mask_digest": masks_digest(masks),
        HEADER_DIGESTS: json.dumps({name: tensor_digest(name, tensor) for name, tensor in parameters.items()}),
    }
    write_tensors(path, parameters, header=header)


def load_weights(path: Path, *, masks: Mapping[str, Tensor], info: BundleInfo) -> dict[str, Tensor]:
    """Read the weights that belong to a mask bundle, [out, in] by layer, on the CPU.

    Raises ``ValueError`` for a file that is damaged, which it says of the first tensor that is wrong, or that was
    written for another mask.
    """
    parameters, header = read_tensors(path, kind="weights")
    digests = _digests(path, header, masks=masks, info=info)
    if parameters.keys() != digests.keys():
        wrong = sorted(parameters.keys() ^ digests.keys())[0]
        raise ValueError(f"weights {path}: tensor {wrong!r} is not both in the file and in its header")
    for name, tensor in sorted(parameters.items()):
        if digests[name] != tensor_digest(name, tensor):
            raise ValueError(f"weights {path}: damaged, tensor {name!r} does not match its digest in the header")
    weights = {name.removesuffix(_SUFFIX): tensor for name, tensor in parameters.items()}
    if weights.keys() != masks.keys():
        wrong = sorted(weights.keys() ^ masks.keys())[0]
        raise ValueError(f"weights {path}: layer {wrong!r} is not both in the file and in the mask")
    for name, weight in weights.items():
        _check_beneath(masks[name], weight=weight, name=name, path=path)
    return weights


def _digests(path: Path, header: Mapping[str, str], *, masks: Mapping[str, Tensor], info: BundleInfo) -> dict[str, str]:
    if header.get(HEADER_FORMAT) != WEIGHTS_FORMAT:
        raise ValueError(f"weights {path}: expected format {WEIGHTS_FORMAT}, found {header.get(HEADER_FORMAT)!r}")
    try:
        found = BundleInfo(**json.loads(header[HEADER_INFO]))
        digests = {str(name): str(digest) for name, digest in json.loads(header[HEADER_DIGESTS]).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"weights {path}: damaged header ({error})") from error
    if found != info or header.get("mask_digest") != masks_digest(masks):
        raise ValueError(
            f"weights {path}: written for another mask ({found.method} {found.pattern}, trial {found.trial_key}), not "
            f"for that of trial {info.trial_key}"
        )
    return digests


def _check_beneath(mask: Tensor, *, weight: Tensor, name: str, path: Path) -> None:
    if weight.shape != mask.shape:
        raise ValueError(f"weights {path}: {name} is {tuple(weight.shape)}, its mask {tuple(mask.shape)}")
    outside = int(torch.count_nonzero(weight * ~mask))
    if outside:
        raise ValueError(f"weights {path}: {name} has {outside} weights that are not zero where the mask has none")
