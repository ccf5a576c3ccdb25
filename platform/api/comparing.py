"""Compare two sides or studies, two masks layer by layer, and small models with a large one."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nmlab.platform.api.compared_sides import GivenSide
from nmlab.platform.api.comparison import Comparison
from nmlab.platform.api.named_results import Target, target_name
from nmlab.platform.api.places import results_folder, store_uri
from nmlab.platform.api.results import Configuration
from nmlab.platform.api.sweep_result import SweepResult
from nmlab.trials.contract.values import JsonObject

if TYPE_CHECKING:
    import pandas as pd

    from nmlab.reports.scaling import Scaled
    from nmlab.trials.export.overlap import MaskComparison, Overlap


@dataclass(frozen=True, eq=False)
class MaskDifference:
    """Two masks of one model, layer by layer.

    Attributes:
        trials: the keys of the trials that the masks came from, None for a mask of no trial.
        taken: which trial was taken for a configuration or a launch, in words; empty if a trial was named.
        patterns: the patterns of the masks.
        agreement: the share of weights on which they agree.
        chance: the share on which two random masks of these patterns would agree.
    """

    trials: tuple[str | None, str | None]
    taken: tuple[str, str]
    patterns: tuple[str, str]
    agreement: float
    chance: float
    _compared: "MaskComparison" = field(repr=False)
    _names: tuple[str, str] = field(repr=False)

    def rows(self, *, layers: bool = True) -> "tuple[Overlap, ...]":
        """Return one row for each layer, then the whole model, then what two random masks have in common."""
        compared = self._compared
        return (*(compared.layers if layers else ()), compared.total, compared.chance)

    def cells(self, *, layers: bool = True) -> Iterator[tuple[str, ...]]:
        """Yield the cells of each row as text: layer, weights, and three shares in percent."""
        for row in self.rows(layers=layers):
            shares = (row.agreement, row.kept_in_common, row.same_groups)
            texts = ("-" if share is None else f"{share:.1%}" for share in shares)
            yield (row.name, f"{row.weights:,}" if row.weights else "", *texts)

    @property
    def layers(self) -> "pd.DataFrame":
        """One row for each layer: ``name``, ``weights``, ``agreement``, ``kept_in_common``, ``same_groups``."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self._compared.layers]).convert_dtypes(convert_floating=False)

    def record(self) -> JsonObject:
        """Return everything as plain JSON, as ``nmlab diff --json`` prints it."""
        first, second = self._names
        taken = {"trials": list(self.trials), "taken": list(self.taken)}
        return {
            "first": first,
            "second": second,
            **taken,
            "patterns": list(self.patterns),
            **asdict(self._compared),
        }

    def _repr_html_(self) -> str:
        import pandas as pd

        frame = pd.DataFrame([asdict(row) for row in self.rows()])
        return str(frame.to_html(index=False, float_format=lambda share: f"{share:.1%}"))


def compare(
    *studies: GivenSide,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    metrics: Sequence[str] = (),
    at_equal: str = "",
    mixed: bool = False,
    tracking_uri: str | None = None,
) -> Comparison:
    """Compare two sides by tests, or the configurations of studies in one table.

    Two sides without ``columns`` are compared pair by pair: means, difference with its interval, test, costs, and in
    what else they differ. One, three or more, or two with ``columns``, are one table.

    Args:
        studies: a launch each, its folder, a study (its newest launch) or a result; with ``:`` and a selector a part
            of it: ``"LAUNCH:maskpro"``, ``"LAUNCH:alpha=0.97"``, ``"LAUNCH:best"``, ``"LAUNCH:KEY"``, and ``":susi"``
            of the launch before. Several launches of one study that are pooled are a sequence, or a text joined by
            commas. A configuration is one of a result. All of them may also be given as one sequence.
        rows: what rows are: ``"study"``, ``"method"``, ``"pattern"``, ``"role"`` or settings; of two sides, what makes
            two configurations a pair.
        columns: what columns are, from the same names.
        metrics: the metrics to show; by default the reported one of the first study.
        at_equal: of two sides, compare what they reached at an equal budget: ``"tokens"``, ``"forwards"``,
            ``"backwards"``, ``"seconds"`` or ``"steps"``.
        mixed: allow runs that were not evaluated alike; the table marks them.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        The comparison.

    Raises:
        ReportError: an unknown study, launch, selector, row, column, metric or budget, with the nearest names; a study
            without a finished run; nothing to compare; runs that were not evaluated alike; a budget of which no curve
            was recorded.

    Example:
        >>> import nmlab
        >>> found = nmlab.compare("quickstart:maskpro", ":susi")  # doctest: +SKIP
        >>> found.verdict, found.frame()  # doctest: +SKIP
        >>> nmlab.compare(["quickstart"], rows=["method"]).frame()  # doctest: +SKIP
    """
    from nmlab.platform.api.compared_sides import side_texts
    from nmlab.reports.compare import compare as compared

    uri = store_uri(tracking_uri)
    named = side_texts(_sides(studies), tracking_uri=uri)
    found = compared(
        named, tracking_uri=uri, rows=rows, columns=columns, metrics=metrics, at_equal=at_equal, mixed=mixed
    )
    return Comparison(named, found)


def _sides(given: Sequence[GivenSide]) -> Sequence[GivenSide]:
    """Return the sides; a single sequence holds all of them."""
    only = given[0] if len(given) == 1 else None
    if only is None or isinstance(only, str | Path | SweepResult | Configuration):
        return given
    return list(only)


def diff(
    first: Target,
    second: Target,
    *,
    model: str | Path | None = None,
    revision: str | None = None,
    dtype: str | None = None,
    leave_dense: Sequence[str] = (),
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> MaskDifference:
    """Compare two masks of one model layer by layer.

    Args:
        first: a result, a mask file or a checkpoint, as `evaluate` takes it.
        second: another one.
        model: base model of the masks; by default the model in their records.
        revision: revision of a Hugging Face hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``; by default as in the record.
        leave_dense: weights of decoder blocks to leave without a mask.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        Where they agree.

    Raises:
        ValueError: masks of different models, or as `evaluate`.

    Example:
        >>> import nmlab
        >>> one, other = (nmlab.run(method, windows=4, progress=False) for method in ("magnitude", "random"))
        >>> found = nmlab.diff(one, other)
        >>> len(found.layers), found.patterns
        (14, ('2:4', '2:4'))
    """
    from nmlab.platform.tracking.result_files import located_files
    from nmlab.trials.export.overlap import compare as overlap
    from nmlab.trials.export.subject import Base, read_masks

    base = Base(None if model is None else str(model), revision, dtype, tuple(leave_dense))
    names = (target_name(first), target_name(second))
    uri, folder = store_uri(tracking_uri), results_folder(results)
    found, places = [], []
    for name in names:
        with located_files(name, tracking_uri=uri, results=folder) as files:
            found.append(read_masks(files.place, base=base))
            places.append(files)
    (first_masks, pattern), (second_masks, other) = found
    compared = overlap(first_masks, second_masks, patterns=(pattern, other))
    return MaskDifference(
        trials=(places[0].key, places[1].key),
        taken=(places[0].how_chosen, places[1].how_chosen),
        patterns=(str(pattern), str(other)),
        agreement=compared.total.agreement,
        chance=compared.chance.agreement,
        _compared=compared,
        _names=names,
    )


def scale(
    studies: Sequence[str],
    *,
    groups: int | None = None,
    model: str | Path | None = None,
    pattern: str | None = None,
    tracking_uri: str | None = None,
) -> "Scaled":
    """Propose logit magnitude, learning rate and steps for a larger model, with uncertainty, as a search space.

    Args:
        studies: studies of MaskPro on smaller models (their newest launches), launches, or their folders.
        groups: how many groups of M weights the larger model has.
        model: folder of the larger model, in place of ``groups``; only its ``config.json`` is read.
        pattern: N:M of the larger model; by default that of the studies.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        The evidence, the proposal, the ``space`` as part of a study in YAML, and ``sentences`` on both.

    Raises:
        ReportError: neither or both of groups and model, an unknown study, too few settings tried, or a model whose
            groups can't be counted.

    Example:
        >>> import nmlab
        >>> nmlab.scale(["maskpro-logit-magnitude"], groups=1_600_000_000).space  # doctest: +SKIP
    """
    from nmlab.platform.tracking.named_launch import as_study_text
    from nmlab.reports.scaling import scale as scaled

    uri = store_uri(tracking_uri)
    given = (studies,) if isinstance(studies, str) else tuple(studies)
    named = tuple(as_study_text(each, tracking_uri=uri) for each in given)
    folder = None if model is None else Path(model)
    return scaled(named, tracking_uri=uri, groups=groups, model=folder, pattern=pattern)
