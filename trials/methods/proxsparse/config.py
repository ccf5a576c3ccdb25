"""The hyperparameters of ProxSparse, with the values of the authors' scripts as defaults."""

from pydantic import Field

from nmlab.trials.method import MethodConfig


class ProxSparseConfig(MethodConfig):
    """Defaults are the scripts' for LLaMA-2-7B; prox_lambda has the unit 1/weight and is another for every model."""

    steps: int = Field(default=400, ge=1, description="minibatches, a forward and a backward each (scripts)")
    learning_rate: float = Field(
        default=1e-4, gt=0, le=1e6, description="of AdamW, after a tenth of warm-up falling linearly to 0 (scripts)"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW on all parameters (scripts)")
    prox_lambda: float = Field(
        default=0.25,
        ge=0,
        description="strength of the proximal step after every update, as it is, not times the learning rate "
        "(scripts: 0.2 to 25; to reach 2:4 in T steps T * prox_lambda * 3 * rms(weights) wants to be above 1)",
    )
    anchor_lambda: float = Field(
        default=0.0,
        ge=0,
        description="weight of a penalty on leaving the original weights (scripts with it: 0.25 to 1)",
    )
    anchor_epsilon: float = Field(
        default=0.1, gt=0, description="added to the original weight's size in that penalty (scripts: 0.1 to 0.5)"
    )
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the gradient (Hugging Face's default)")
