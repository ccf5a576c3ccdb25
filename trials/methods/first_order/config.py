"""The hyperparameters of first_order; all defaults are ours, from runs on small models."""

from typing import Literal

from pydantic import Field

from nmlab.trials.methods.base import MethodConfig, default_from

GradientScale = Literal["ranks", "clipped", "std"]
_TRIED = "ours: did best, or as well as others, on builtin:tiny and on a model of 304 thousand weights"


class FirstOrderConfig(MethodConfig):
    """The hyperparameters: the start, the gradient, and the line search over kappa, the size of the step."""

    initial_mask: str = Field(
        default="wanda",
        description="one-shot method whose saliency is corrected, or else whose mask",
        json_schema_extra=default_from("ours: the cheapest rule that reads the text"),
    )
    gradient_batches: int = Field(
        default=32,
        ge=1,
        description="calibration minibatches whose gradient is taken, the first of those that the line search leaves",
        json_schema_extra=default_from("ours: no other number was tried"),
    )
    gradient_scale: GradientScale = Field(
        default="ranks",
        description="how the gradient of each layer is scaled: by the ranks of its sizes, by its median size and "
        "clipped, or by its standard deviation, which a few large entries decide",
        json_schema_extra=default_from(f"{_TRIED}; clipping is as good, and takes smaller steps"),
    )
    gradient_tau: float = Field(
        default=0.05,
        ge=0,
        description="of the expected mask at which the gradient is taken, where the saliency of a layer has a standard "
        "deviation of 1; 0 takes the hard mask",
        json_schema_extra=default_from(_TRIED),
    )
    line_search_batches: int = Field(
        default=8,
        ge=1,
        description="calibration minibatches, the last ones, on which steps are compared; at most a quarter of all",
        json_schema_extra=default_from("ours: on what the gradient has read, steps come out too large"),
    )
    kappa_max: float = Field(
        default=1.28,
        gt=0,
        le=1e6,
        description="largest step of the logits along the scaled gradient that is tried",
        json_schema_extra=default_from("ours: a mask without scores needs about 1, scores far less"),
    )
    kappa_count: int = Field(
        default=8,
        ge=1,
        le=64,
        description="step sizes that are tried beside 0, each half of the one before",
        json_schema_extra=default_from("ours: down to 0.01, because the best step of a large model may be that small"),
    )
