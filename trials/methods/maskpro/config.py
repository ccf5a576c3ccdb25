"""The hyperparameters of MaskPro, with the paper's values as defaults."""

from typing import Literal, Self

from pydantic import Field, model_validator

from nmlab.trials.methods.base import MethodConfig, default_from
from nmlab.trials.methods.training_objective.settings import ObjectiveName, objective_field


class MaskProConfig(MethodConfig):
    """The hyperparameters; defaults are those of the paper's 7B models, a small model needs smaller C and rate."""

    alpha: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="decay of the residual tracker; used by estimator tracked only, and not with tracker leave_one_out",
        json_schema_extra=default_from("MaskPro, Algorithm 1; best of Table 10"),
    )
    logit_magnitude: float = Field(
        default=10.0,
        gt=0,
        description="C: initial logits are C on kept weights, 0 on the others",
        json_schema_extra=default_from("MaskPro, Table 2; 8 to 12 in Table 11; a small model needs less"),
    )
    # The upper bound is far above any use; it keeps float32 logits finite, however long the run.
    learning_rate: float = Field(
        default=50.0,
        gt=0,
        le=1e6,
        description="step on the logits, plain SGD",
        json_schema_extra=default_from("MaskPro, Table 2: 25 to 200; a small model needs far less"),
    )
    steps: int = Field(
        default=10_000,
        ge=1,
        description="minibatches, one forward a mask each",
        json_schema_extra=default_from("MaskPro, Table 2: about 10k"),
    )
    initial_mask: str = Field(
        default="magnitude",
        description="one-shot method whose mask m_0 the run starts from",
        json_schema_extra=default_from(
            "MaskPro: top-N magnitude or SparseGPT; magnitude here, because it costs nothing"
        ),
    )
    estimator: Literal["vanilla", "residual", "tracked"] = Field(
        default="tracked",
        description="weight of the score: f(m), f(m) - f(m_0), or that less the tracker",
        json_schema_extra=default_from("MaskPro, Algorithm 1; the best of Fig. 3a"),
    )
    sampler: Literal["multinomial", "gumbel_topk", "gaussian_topk", "event"] = Field(
        default="multinomial",
        description="how masks are drawn; all follow one distribution but gaussian_topk; event implies its engine",
        json_schema_extra=default_from("MaskPro, Table 17, and the authors' code"),
    )
    engine: Literal["auto", "reference", "linear", "event", "triton"] = Field(
        default="auto",
        description="what samples masks and moves logits; all are exact, they differ in speed",
        json_schema_extra=default_from("ours: the one that touches the fewest groups"),
    )
    logits: Literal["float32", "bfloat16_delta"] = Field(
        default="float32",
        description="how logits are held: 4 bytes a weight, or 2 as difference from the initial ones",
        json_schema_extra=default_from("ours: the exact update needs float32, see docs/engines.md"),
    )
    masked_weights: Literal["copied", "multiplied"] = Field(
        default="copied",
        description="'copied' holds masked weights and patches them; 'multiplied' holds masks, multiplies each forward",
        json_schema_extra=default_from("ours: the faster one"),
    )
    masks_per_step: int = Field(
        default=1,
        ge=1,
        description="masks drawn a step, averaged",
        json_schema_extra=default_from("MaskPro, Algorithm 1"),
    )
    tracker: Literal["corrected", "paper", "leave_one_out"] = Field(
        default="corrected",
        description="'paper' starts the tracker at 0, which biases early steps; 'corrected' divides by 1 - alpha^t; "
        "'leave_one_out' is no tracker but the mean residual of the step's other masks (masks_per_step >= 2); "
        "compat official makes no difference between 'paper' and 'corrected': it takes the moved tracker as it is",
        json_schema_extra=default_from("ours: the paper's early steps are biased, which harms small models"),
    )
    loss_masks: int = Field(
        default=0,
        ge=0,
        description="masks drawn from the final logits, whose losses go to mask_losses.npz; 0 draws none",
        json_schema_extra=default_from("ours: none; MaskPro, Fig. 2 has 1000"),
    )
    loss_batches: int = Field(
        default=2,
        ge=1,
        description="calibration minibatches, the first ones, on which each of loss_masks is evaluated",
        json_schema_extra=default_from("MaskPro, Fig. 2"),
    )
    compat: Literal["none", "official"] = Field(
        default="none",
        description="'official' repeats the authors' code: its 2:4 gradient with 1e-8 guards, tracker moved before use",
        json_schema_extra=default_from("ours: the exact gradient of any N:M, and the paper's order"),
    )
    objective: ObjectiveName = objective_field("MaskPro, Algorithm 1: the loss of the text")

    @model_validator(mode="after")
    def _one_engine(self) -> Self:
        if self.sampler == "event" and self.engine not in ("auto", "event"):
            raise ValueError(f"sampler event needs engine event or auto, not engine {self.engine}")
        return self

    @model_validator(mode="after")
    def _others_to_leave_in(self) -> Self:
        if self.tracker == "leave_one_out" and self.masks_per_step < 2:
            raise ValueError("tracker leave_one_out needs masks_per_step of 2 or more")
        return self
