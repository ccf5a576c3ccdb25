"""The hyperparameters of methods: declared as pydantic models, with the source of every default, and validated."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic.fields import FieldInfo

from nmlab.trials.contract.errors import SettingError
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.paper_names import called_here, our_names
from nmlab.trials.contract.values import Hyperparameters
from nmlab.trials.contract.wording import expectation

_DEFAULT_FROM = "default_from"


class MethodConfig(BaseModel):
    """The hyperparameters of a method; each field has a description and the source of its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Config = TypeVar("Config", bound=MethodConfig)


def default_from(source: str) -> dict[str, JsonValue]:
    """Return the ``json_schema_extra`` of a ``MethodConfig`` field that records the source of its default."""
    return {_DEFAULT_FROM: source}


def source_of_default(field: FieldInfo) -> str:
    """Return the source of a hyperparameter's default, or "" where its field does not give it."""
    extra = field.json_schema_extra
    return str(extra.get(_DEFAULT_FROM, "")) if isinstance(extra, dict) else ""


def validated(config: type[Config], hyperparameters: Hyperparameters, *, method: str) -> Config:
    """Return ``hyperparameters`` as an instance of ``config``; what is not given has its default.

    Raises ``SettingError`` that names ``method``, the hyperparameter, its value, and what was expected.
    """
    _check_names(hyperparameters, known=config.model_fields, method=method)
    try:
        return config.model_validate(dict(hyperparameters))
    except ValidationError as error:
        setting, problem = _first_problem(error)
        raise SettingError(f"{method}: {problem}", method=method, setting=setting) from error


def _check_names(names: Hyperparameters, *, known: Mapping[str, FieldInfo], method: str) -> None:
    for name in names:
        if not known:
            raise SettingError(f"{method} takes no {name!r}", method=method, setting=name)
        if name not in known:
            raise SettingError(_unknown(name, known=known, method=method), method=method, setting=name)


def _unknown(name: str, *, known: Mapping[str, FieldInfo], method: str) -> str:
    if names_here := our_names(name, known=known):
        return f"unknown hyperparameter of {method} {name!r}; {called_here(names_here)}"
    return unknown_name(name, kind=f"hyperparameter of {method}", known=known)


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the name of what is wrong first, "" where it concerns several hyperparameters, and what is wrong."""
    detail = error.errors()[0]
    name = ".".join(str(part) for part in detail["loc"])
    return name, f"{name} = {detail['input']!r}: {expectation(detail)}" if name else expectation(detail)
