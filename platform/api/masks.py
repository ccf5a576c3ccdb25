"""Masks of finished trials: loaded, applied to models of transformers, and written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.rendering import html_facts
from nmlab.trials.contract.values import JsonMapping

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor
    from transformers import PreTrainedModel

    from nmlab.trials.contract.sections import ModelSource
    from nmlab.trials.models.finished import FinishedMask


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """An N:M mask of every prunable layer of one model, with new weights if its method changed them.

    Attributes:
        origin: where it was read from, in words.
    """

    _finished: "FinishedMask" = field(repr=False)
    origin: str = ""
    _model: JsonMapping = field(default_factory=dict, repr=False)

    @property
    def pattern(self) -> str:
        """The pattern, such as ``"2:4"``: each group of 4 weights along the input axis keeps 2."""
        return self._finished.info.pattern

    @property
    def method(self) -> str:
        """The method that found it."""
        return self._finished.info.method

    @property
    def trial(self) -> str:
        """The key of the trial that found it."""
        return self._finished.info.trial_key

    @property
    def model_source(self) -> str:
        """The model that it was made for, as in a study: ``builtin:tiny``, a folder, or a hub id."""
        return self._finished.info.model_source

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the masked layers."""
        return tuple(self._finished.masks)

    @property
    def tensors(self) -> "Mapping[str, Tensor]":
        """The mask of each layer, boolean [out, in], true where the weight is kept."""
        return self._finished.masks

    @property
    def weights(self) -> "Mapping[str, Tensor] | None":
        """The weights [out, in] that replace the model's, of a method that changes them; None for the model's own."""
        return self._finished.weights

    @property
    def density(self) -> float:
        """The share of the masked layers' weights that is kept, from 0 to 1; N / M."""
        from nmlab.trials.contract.pattern import Pattern

        return Pattern.parse(self.pattern).density

    def summary(self) -> "pd.DataFrame":
        """Return one row for each layer: ``layer``, ``rows``, ``columns``, ``kept`` (weights) and ``density``."""
        import pandas as pd

        rows = [
            {"layer": name, "rows": mask.shape[0], "columns": mask.shape[1], "kept": int(mask.sum())}
            for name, mask in self.tensors.items()
        ]
        frame = pd.DataFrame(rows, columns=["layer", "rows", "columns", "kept"])
        return frame.assign(density=frame["kept"] / (frame["rows"] * frame["columns"]))

    def apply(self, model: "PreTrainedModel | None" = None, *, other_weights: bool = False) -> "PreTrainedModel":
        """Mask a model of transformers **in place**, and return it.

        Weights that the mask drops become 0, and those of a method that changes weights are replaced. The model stays
        an ordinary one: it can be evaluated, saved, trained on, and moved. Parameters are written, not exchanged, so
        tied weights and optimisers keep theirs.

        Args:
            model: the model; by default the one that the mask was made for is loaded (`load_model`).
            other_weights: allow a model whose weights are not those that the mask was made for, as after training, or
                in another number type. Layers and shapes must fit all the same.

        Returns:
            The same model, or the one that was loaded.

        Raises:
            ValueError: a layer that the model lacks or has in another shape, or other weights than the mask was made
                for.
            SourceError: the model that the mask was made for cannot be loaded.

        Example:
            >>> import nmlab
            >>> trial = nmlab.run("magnitude", windows=4, progress=False)
            >>> model = nmlab.load_model("builtin:tiny")
            >>> trial.mask.apply(model) is model
            True
            >>> float((model.model.layers[0].mlp.up_proj.weight == 0).float().mean())
            0.5
        """
        from nmlab.trials.models.applied import apply_in_place, check_digest

        chosen = self.load_model() if model is None else model
        if model is not None and not other_weights:
            check_digest(chosen, info=self._finished.info)
        apply_in_place(chosen, self.tensors, weights_OI=self.weights)
        return chosen

    def load_model(self) -> "PreTrainedModel":
        """Load the dense model that the mask was made for, in the number type of its trial."""
        return _load(self._source())

    def save(self, path: str | Path) -> Path:
        """Write a mask bundle, which `load_mask` and ``nmlab evaluate`` read, and return its path.

        Args:
            path: the file, by convention ``*.safetensors``, or an existing folder, which gets ``mask.safetensors``.
                New weights are written beside it, as ``weights.safetensors``.

        Raises:
            ValueError: there is such a file already.
            OSError: it cannot be written.
        """
        from nmlab.trials.contract.run_artifacts import MASK_FILE
        from nmlab.trials.models.finished import save_finished

        file = Path(path).expanduser()
        file = file / MASK_FILE if file.is_dir() else file
        save_finished(file, self._finished, model=self._model)
        return file

    def _source(self) -> "ModelSource":
        from nmlab.trials.contract.model_settings import model_source

        return model_source({"source": self.model_source, **self._model}, from_record=True)

    @cached_property
    def _facts(self) -> dict[str, object]:
        weights = sum(mask.numel() for mask in self.tensors.values())
        return {
            "method": self.method,
            "pattern": self.pattern,
            "model": self.model_source,
            "layers": len(self.layers),
            "weights": f"{weights:,}, {self.density:.4g} of them kept",
            "new weights": "yes" if self.weights is not None else "",
            "trial": self.trial,
            "read from": self.origin,
        }

    def __repr__(self) -> str:
        return (
            f"Mask({self.method} {self.pattern} of {self.model_source}, {len(self.layers)} layers, trial {self.trial})"
        )

    def _repr_html_(self) -> str:
        return html_facts("Mask", self._facts) + str(self.summary().to_html(index=False, max_rows=10))


def load_mask(path: str | Path) -> Mask:
    """Load a mask from a file.

    Args:
        path: a mask bundle (``mask.safetensors``), or the folder of a trial or of an export that holds one.
            `load_result` takes the ids that nmlab prints.

    Returns:
        The mask, checked: every group keeps exactly N of M, and the file is as it was written.

    Raises:
        ValueError: a file that is missing, damaged (with the tensor's name) or no mask bundle.

    Example:
        >>> import nmlab
        >>> trial = nmlab.run("magnitude", windows=4, progress=False)
        >>> mask = nmlab.load_mask(trial.folder)
        >>> mask.pattern, mask.density
        ('2:4', 0.5)
    """
    from nmlab.trials.contract.run_artifacts import MASK_FILE
    from nmlab.trials.masks.bundle import read_bundle
    from nmlab.trials.models.finished import load_finished

    given = Path(path).expanduser()
    file = given / MASK_FILE if given.is_dir() else given
    if not file.is_file():
        raise ValueError(f"no mask {str(file)!r}; expected a mask bundle, or a folder with a {MASK_FILE}")
    own = read_bundle(file).origin.get("model", {})
    settings = (
        {name: own[name] for name in ("revision", "dtype", "leave_dense") if name in own}
        if isinstance(own, dict)
        else {}
    )
    return Mask(load_finished(file), str(given), settings)


def load_model(source: str | Path, *, revision: str | None = None, dtype: str = "float32") -> "PreTrainedModel":
    """Load an ordinary model of transformers, exactly as trials load it, for `Mask.apply`.

    Args:
        source: ``builtin:tiny``, a Hugging Face folder, or a hub id. Code from a model repository is never run.
        revision: branch, tag or commit of a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``; a mask is for the weights in the type of its trial.

    Returns:
        The model in evaluation mode; its tokenizer is ``AutoTokenizer.from_pretrained(model.name_or_path)``.

    Raises:
        SourceError: it cannot be reached or read; the text says what to do.

    Example:
        >>> import nmlab
        >>> type(nmlab.load_model("builtin:tiny")).__name__
        'Qwen2ForCausalLM'
    """
    from nmlab.trials.contract.model_settings import model_source

    return _load(model_source({"source": str(source), "revision": revision, "dtype": dtype}))


def _load(source: "ModelSource") -> "PreTrainedModel":
    from nmlab.trials.models.reading import read_module
    from nmlab.trials.models.sources import locate

    return read_module(locate(source), source).eval()
