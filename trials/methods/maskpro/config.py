"""The hyperparameters of MaskPro, with the paper's values as defaults."""

from typing import Literal, Self

from pydantic import Field, model_validator

from nmlab.trials.method import MethodConfig


class MaskProConfig(MethodConfig):
    """Defaults are those of the paper's 7B models; a small model wants a smaller C and learning rate."""

    alpha: float = Field(default=0.99, ge=0, lt=1, description="decay of the residual tracker (Alg. 1; Table 10)")
    logit_magnitude: float = Field(
        default=10.0, gt=0, description="C: initial logits are C on kept weights, 0 on the others (Table 11)"
    )
    # The upper bound is far above any use; it keeps float32 logits finite, however long the run.
    learning_rate: float = Field(
        default=50.0, gt=0, le=1e6, description="step on the logits, plain SGD (Table 2: 25 to 200)"
    )
    steps: int = Field(default=10_000, ge=1, description="minibatches, one forward a mask each (Table 2: about 10k)")
    initial_mask: str = Field(default="magnitude", description="one-shot method whose mask m_0 is the start (Table 12)")
    estimator: Literal["vanilla", "residual", "tracked"] = Field(
        default="tracked",
        description="weight of the score: f(m), f(m) - f(m_0), or that less the tracker (Fig. 3a)",
    )
    sampler: Literal["multinomial", "gumbel_topk", "gaussian_topk"] = Field(
        default="multinomial",
        description="how masks are drawn (Table 17); the first two are one distribution",
    )
    masks_per_step: int = Field(default=1, ge=1, description="masks drawn a step, averaged (paper: 1)")
    tracker: Literal["corrected", "paper", "leave_one_out"] = Field(
        default="corrected",
        description="'paper' starts the tracker at 0, which biases early steps; 'corrected' divides by 1 - alpha^t; "
        "'leave_one_out' is no tracker but the mean residual of the step's other masks (masks_per_step >= 2)",
    )
    compat: Literal["none", "official"] = Field(
        default="none",
        description="'official' repeats the authors' code: its 2:4 gradient with 1e-8 guards, tracker moved before use",
    )

    @model_validator(mode="after")
    def _others_to_leave_in(self) -> Self:
        if self.tracker == "leave_one_out" and self.masks_per_step < 2:
            raise ValueError("tracker leave_one_out needs masks_per_step of 2 or more: one mask alone has no others")
        return self
