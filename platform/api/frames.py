"""DataFrames of a launch with typed columns, made from the values of its report, so that numbers agree."""

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd
from pydantic.fields import FieldInfo

from nmlab.reports.analysis.configurations import Configuration, configurations_of, looked_at, ranks
from nmlab.reports.analysis.metrics import neutral_metrics
from nmlab.reports.analysis.settings import varying
from nmlab.reports.read.collect import StudyRuns
from nmlab.reports.read.frame import trial_frame
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.read.typed_text import Value
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.values import Scalar
from nmlab.trials.methods import registry

Kind: TypeAlias = type[float] | type[int] | type[bool] | type[str]

IDENTITY = ("trial", "configuration", "role", "method", "pattern", "seed", "status", "reason")
"""The first columns of the frame of trials."""
NUMBERS = ("metric", "mean", "low", "high", "n", "planned", "rank")
"""The numbers in the frame of configurations."""
SELECTION = ("looked_at", "selected_by", "selected_mean", "fresh_mean", "fresh_low", "fresh_high", "fresh_n")
"""What follows them: how the configuration was selected, and what fresh seeds say."""
_RENAMED = {"trial_key": "trial", "is_external_model": "external", "is_confirmation": "confirmation"}


def trials_frame(runs: StudyRuns) -> pd.DataFrame:
    """Return one row a trial, sorted by configuration and seed; runs that hold a trial once more are left out.

    Columns: ``trial`` (key), ``configuration``, ``role``, ``method``, ``pattern``, ``seed`` (Int64), ``status`` (a
    category), ``reason``, the hyperparameters with the types that their methods declare, the other settings that vary,
    every final metric (float64), ``external`` (made elsewhere and evaluated like this study),
    ``confirmation`` (its seed took no part in the search), ``run_id`` of MLflow.
    """
    return typed_frame(runs.trials, settings=shown_settings(runs))


def typed_frame(trials: Iterable[TrialRecord], *, settings: Sequence[str]) -> pd.DataFrame:
    """Return records of trials as `trials_frame` has them, with these settings."""
    kept = [trial for trial in trials if trial.status != TrialStatus.DUPLICATE]
    rows = trial_frame(kept).rename(columns=_RENAMED)
    shown = [name for name in settings if name in rows]
    metrics = sorted({name for trial in kept for name in trial.metrics})
    methods = sorted({trial.method for trial in kept})
    columns: dict[str, pd.Series[Any]] = {name: _identity(rows[name], name=name) for name in IDENTITY}
    columns |= {name: typed_column(rows[name], kind=kind_in(methods, name)) for name in shown}
    columns |= {name: rows[name].astype("float64") for name in metrics}
    columns |= {name: rows[name].astype("bool") for name in ("external", "confirmation")}
    columns |= {"run_id": rows["run_id"].astype("string")}
    return pd.DataFrame(columns)


def configurations_frame(runs: StudyRuns) -> pd.DataFrame:
    """Return one row a configuration, the best of each group of comparable ones first.

    Columns: ``configuration``, ``role``, ``method``, ``pattern``, the settings as in `trials_frame`, ``metric`` (the
    reported one), its ``mean`` over the finished seeds of the search with the 95 % interval from ``low`` to ``high``
    (NaN for one seed), ``n`` finished seeds of ``planned`` ones, the ``rank`` among the searched configurations of its
    group whose seeds have all finished, and among how many it was ``looked_at`` (NA for baselines). ``selected_by`` is
    the searched metric with ``selected_mean``; ``fresh_mean`` is the mean of ``metric`` over ``fresh_n`` fresh seeds.
    A study with neutral texts has the mean on each of them as well, as ``neutral/NAME/perplexity``.
    """
    items = configurations_of(runs)
    settings = shown_settings(runs)
    first = trials_frame(runs).drop_duplicates("configuration").set_index("configuration")
    first = first[[name for name in settings if name in first]]
    frame = pd.DataFrame(map(_record, items), columns=["configuration", "role", "method", "pattern"])
    frame = frame.join(first, on="configuration")
    places = ranks(items)
    rows = [{**_numbers(item, places), **_selection(item, looked_at(items))} for item in items]
    numbers = pd.DataFrame(rows, columns=[*NUMBERS, *SELECTION])
    frame = pd.concat([frame, numbers], axis="columns")
    neutral = neutral_metrics(items)
    for metric in neutral:
        frame[metric] = [_mean_of(item, metric) for item in items]
    kinds = dict.fromkeys(("configuration", "role", "method", "pattern", "metric", "selected_by"), "string")
    kinds |= dict.fromkeys(("mean", "low", "high", "selected_mean", "fresh_mean", "fresh_low", "fresh_high"), "float64")
    kinds |= dict.fromkeys(neutral, "float64")
    kinds |= dict.fromkeys(("n", "planned", "rank", "looked_at", "fresh_n"), "Int64")
    return frame.astype(kinds)


def typed_column(values: "pd.Series[Any]", *, kind: Kind | None) -> "pd.Series[Any]":
    """Return a column with the type of a setting: float64, Int64, boolean or string; None takes what the values are."""
    if kind is float:
        return pd.to_numeric(values).astype("float64")
    if kind is int:
        return pd.to_numeric(values).astype("Int64")
    if kind is bool:
        return values.map({"True": True, "False": False, True: True, False: False}).astype("boolean")
    if kind is str:
        return values.astype("string")
    return values.infer_objects().convert_dtypes(convert_floating=False)


def typed_settings(settings: Mapping[str, Value], *, method: str) -> dict[str, Scalar]:
    """Return the settings of a trial with the types that its method declares; others as they read."""
    kinds = {name: kind_in((method,), name) for name in settings}
    return {name: _typed(value, kinds[name]) for name, value in settings.items()}


def kind_of(annotation: object) -> Kind | None:
    """Return the type of a setting by its annotation: float for int or float; None where it has no single one."""
    kinds = set(_kinds(annotation))
    if kinds == {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 else None


def _kinds(annotation: object) -> Iterable[Kind]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        for value in arguments:
            yield from _kinds(type(value))
    elif origin in (typing.Union, types.UnionType):
        for each in arguments:
            yield from _kinds(each)
    elif origin is typing.Annotated:
        yield from _kinds(arguments[0])
    elif isinstance(annotation, type) and annotation is not type(None):
        own: tuple[Kind, ...] = (bool, int, float, str)  # bool is an int
        yield from (kind for kind in own[:1] if issubclass(annotation, kind))
        if not issubclass(annotation, bool):
            yield from (kind for kind in own[1:] if issubclass(annotation, kind))


def kind_in(methods: Iterable[str], name: str) -> Kind | None:
    """Return the type that methods declare for a hyperparameter; None where they declare none, or several."""
    declared = {kind_of(field.annotation) for method in methods if (field := _fields(method).get(name)) is not None}
    return declared.pop() if len(declared) == 1 else None


def _typed(value: Value, kind: Kind | None) -> Scalar:
    if kind is bool:
        return str(value) == "True"
    return value if kind is None else kind(value)


def _fields(method: str) -> Mapping[str, FieldInfo]:
    """Return the fields of a method's configuration; none for a model from elsewhere, or a package that is gone."""
    try:
        return registry.get(method).config.model_fields
    except ValueError:
        return {}


def shown_settings(runs: StudyRuns) -> list[str]:
    """Return the hyperparameters, and of the other settings those that vary, in the order of the report."""
    vary = {*varying(configurations_of(runs))}
    return [name for name in runs.settings if "." not in name or name in vary]


def _identity(values: "pd.Series[Any]", *, name: str) -> "pd.Series[Any]":
    if name == "seed":
        return pd.to_numeric(values).astype("Int64")
    if name == "status":
        return pd.Series(pd.Categorical([str(each) for each in values], categories=[str(each) for each in TrialStatus]))
    return values.astype("string")


def _record(item: Configuration) -> dict[str, str]:
    return {"configuration": item.key, "role": str(item.role), "method": item.method, "pattern": item.pattern}


def _numbers(item: Configuration, places: Mapping[str, int]) -> dict[str, object]:
    value = item.value
    estimate = {name: None if value is None else getattr(value, name) for name in ("mean", "low", "high")}
    counts = {"n": len(item.finished), "planned": item.runs_in_all, "rank": places.get(item.key)}
    return {"metric": item.objective.reported, **estimate, **counts}


def _mean_of(item: Configuration, metric: str) -> float | None:
    found = item.estimate(metric)
    return None if found is None else found.mean


def _selection(item: Configuration, among: Mapping[str, int]) -> dict[str, object]:
    fresh = item.as_reported.value if item.is_confirmed else None
    estimate = {
        f"fresh_{name}": None if fresh is None else getattr(fresh, name) for name in ("mean", "low", "high", "n")
    }
    selected = None if item.selection is None else item.selection.mean
    own = {"looked_at": among.get(item.key), "selected_by": item.objective.metric, "selected_mean": selected}
    return {**own, **estimate}
