"""Find a result again by any id that nmlab prints."""

from collections.abc import Sequence
from pathlib import Path

from nmlab.platform.api.masks import Mask
from nmlab.platform.api.places import results_folder, store_uri
from nmlab.platform.api.results import Configuration, Trial
from nmlab.platform.api.sweep_result import SweepResult


def load_result(
    id: str | Sequence[str], *, results: str | Path | None = None, tracking_uri: str | None = None
) -> SweepResult | Configuration | Trial | Mask:
    """Load a result by any id that nmlab prints.

    Args:
        id: the name of a launch, the key of a configuration or of a trial, the id of a run in MLflow, the digest of an
            initial mask, or at least 6 of the first characters of one of these; or the name of a study, which means its
            newest launch. ``LAUNCH@ID`` means ID too. Several launches of one study are pooled.
        results: the folder for launches; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        The launch, configuration or trial, or the initial mask. A configuration that several launches tried is that of
        the newest one.

    Raises:
        ValueError: nothing, or several things, are called so; the text lists them.
        ReportError: MLflow cannot be read.

    Example:
        >>> import nmlab
        >>> trial = nmlab.run("magnitude", windows=4, progress=False)
        >>> nmlab.load_result(trial.key).metrics == trial.metrics
        True
    """
    from nmlab.platform.api.loading import ResultSource, pooled, value_of
    from nmlab.platform.tracking.address import absolute_uri
    from nmlab.platform.tracking.result_lookup import find_meaning

    folder, uri = results_folder(results).absolute(), absolute_uri(store_uri(tracking_uri))
    source = ResultSource(uri, folder)
    if isinstance(id, str):
        return value_of(find_meaning(id, tracking_uri=uri, results=folder), source)
    return pooled([value_of(find_meaning(each, tracking_uri=uri, results=folder), source) for each in id])
