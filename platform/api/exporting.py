"""Write a masked model in another format, and read it back to verify it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nmlab.platform.api.named_results import Target, target_name
from nmlab.platform.api.places import local_path, results_folder, store_uri
from nmlab.platform.api.rendering import html_text
from nmlab.trials.contract.values import JsonMapping, JsonObject

READABLE = ("hf", "mask")
"""The formats that `nmlab.evaluate` reads."""


@dataclass(frozen=True, eq=False, repr=False)
class Export:
    """A model that was written, read back and compared.

    Attributes:
        folder: where it lies.
        format: ``"mask"``, ``"hf"``, ``"onnx"`` or ``"torch-sparse"``.
        pattern: the pattern of its mask.
        largest_difference: of a logit, between what was written and the model.
        trial: the key of the trial that the mask came from, if any.
        taken: which trial was taken for a configuration or a launch, in words.
    """

    folder: Path
    format: str
    pattern: str
    largest_difference: float
    trial: str | None
    taken: str
    _about: str = field(repr=False)
    _facts: JsonMapping = field(repr=False)

    def record(self) -> JsonObject:
        """Return everything as plain JSON, as ``nmlab export --json`` prints it."""
        return {**self._facts, "trial": self.trial, "taken": self.taken}

    def lines(self) -> Iterator[str]:
        """Yield the lines that are shown."""
        verified = self._facts["verified"]
        yield f"{self.folder}: {self._about}"
        yield (
            f"read back: {verified['layers']} layers with the same weights and {self.pattern} mask; "
            f"logits differ by at most {verified['largest_difference']:.2g} (allowed {verified['tolerance']:.2g})"
        )
        yield f"coverage: {self._facts['coverage']}"
        for layer in self._facts.get("layers", ()):
            yield f"  {'sparse' if layer['sparse'] else 'dense '} {layer['layer']}: {layer['why']}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_text(str(self))


def export(
    target: Target,
    format: str,
    output: str | Path,
    *,
    model: str | Path | None = None,
    revision: str | None = None,
    dtype: str | None = None,
    leave_dense: Sequence[str] = (),
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Export:
    """Write a masked model in another format, read it back, and compare its weights and logits with the model's.

    Args:
        target: as `evaluate` takes it.
        format: ``"mask"``, ``"hf"`` (a Hugging Face folder), ``"onnx"`` or ``"torch-sparse"``.
        output: the folder to write; it must be empty or not exist.
        model: base model of a mask; by default the model in its record.
        revision: revision of a Hugging Face hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``; by default as in the record.
        leave_dense: weights of decoder blocks to leave without a mask.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        What was written, and by how much it differs.

    Raises:
        ExportError: what was read back differs from the model; nothing is left of it.
        ValueError: an unknown format or one that this model or machine does not allow, a folder that is not empty, or
            as `evaluate`.

    Example:
        >>> import nmlab
        >>> trial = nmlab.run("magnitude", windows=4, progress=False)
        >>> nmlab.export(trial, "hf", "pruned").largest_difference
        0.0
        >>> nmlab.evaluate("pruned", windows=4).pattern
        '2:4'
    """
    from nmlab.platform.tracking.result_files import located_files
    from nmlab.trials.export import formats
    from nmlab.trials.export.exporter import export as write
    from nmlab.trials.export.subject import Base, open_subject
    from nmlab.trials.models.frozen import best_device

    exporter = formats.get(format)
    base = Base(None if model is None else str(model), revision, dtype, tuple(leave_dense))
    folder = local_path(output, what="output folder")
    uri, kept = store_uri(tracking_uri), results_folder(results)
    with located_files(target_name(target), tracking_uri=uri, results=kept) as found:
        subject = open_subject(found.place, base=base, device=best_device())
        facts = write(subject, exporter, folder=folder)
    difference = float(facts["verified"]["largest_difference"])
    return Export(
        folder, exporter.name, str(facts["pattern"]), difference, found.key, found.how_chosen, exporter.about, facts
    )
