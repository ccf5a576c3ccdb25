"""The settings of a model: as a user gives them, as records keep them, and as mask bundles do."""

from pydantic import ValidationError

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.contract.values import JsonMapping, JsonObject
from nmlab.trials.contract.wording import first_problem

_CALLED = {"source": "model"}  # in messages


def model_source(settings: JsonMapping, *, from_record: bool = False) -> ModelSource:
    """Return a source with settings as a user gives them, or with ``from_record`` as nmlab wrote them down.

    Raises ``SourceError`` with one line about a wrong one.
    """
    try:
        return ModelSource.from_record(settings) if from_record else ModelSource.model_validate(dict(settings))
    except ValidationError as error:
        raise SourceError(first_problem(error, name=lambda setting: _CALLED.get(setting, setting))) from error


def settings_of(source: ModelSource) -> JsonObject:
    """Return the settings of a source as plain JSON, ``leave_dense`` only where it names something.

    Records of models that leave nothing dense are therefore as they were before the setting existed.
    """
    settings = {"source": source.source, "revision": source.revision, "dtype": source.dtype}
    return {**settings, **({"leave_dense": list(source.leave_dense)} if source.leave_dense else {})}


def origin_of(source: ModelSource) -> JsonObject:
    """Return what a mask bundle keeps of its model besides the name: the settings but for the source."""
    return {name: value for name, value in settings_of(source).items() if name != "source"}
