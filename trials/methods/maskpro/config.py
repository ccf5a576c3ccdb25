"""The hyperparameters of MaskPro, with the paper's values as defaults; what is ours is off."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from nmlab.trials.methods.base import MethodConfig, default_from
from nmlab.trials.methods.training_objective.settings import ObjectiveName, objective_field

Schedule = Literal["constant", "linear", "cosine"]


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
        description="C: initial logits are C on kept weights, 0 on the others; with initial_logits saliency or "
        "first_order, C times the logarithm of the scores",
        json_schema_extra=default_from("MaskPro, Table 2; 8 to 12 in Table 11; a small model needs less"),
    )
    # The upper bound is far above any use; it keeps float32 logits finite, however long the run.
    learning_rate: float | None = Field(
        default=50.0,
        gt=0,
        le=1e6,
        description="step on the logits, plain SGD; null where walk_rate is given",
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
    initial_logits: Literal["constant", "saliency", "first_order"] = Field(
        default="constant",
        description="'saliency' starts from the scores of initial_mask: groups that it hardly decides are drawn anew "
        "often, clear ones almost never; 'first_order' has the method of this name correct them first; ours",
        json_schema_extra=default_from("MaskPro: C times the initial mask"),
    )
    mask_per: Literal["batch", "sequence"] = Field(
        default="batch",
        description="'sequence' draws a mask for every sequence of the minibatch and evaluates it there alone; tracker "
        "is then leave_one_out where it is not given; ours",
        json_schema_extra=default_from("MaskPro, Algorithm 1"),
    )
    learning_rate_schedule: Schedule = Field(
        default="constant",
        description="'linear' falls to 0 at the last step, 'cosine' to a tenth; ours",
        json_schema_extra=default_from("MaskPro, Algorithm 1: one learning rate"),
    )
    walk_rate: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="rho, in place of learning_rate: how far, in units of C, noise alone moves an average logit in the "
        "whole run; null takes learning_rate; ours",
        json_schema_extra=default_from("MaskPro, Algorithm 1: a learning rate"),
    )
    compat: Literal["none", "official"] = Field(
        default="none",
        description="'official' repeats the authors' code: its 2:4 gradient with 1e-8 guards, tracker moved before use",
        json_schema_extra=default_from("ours: the exact gradient of any N:M, and the paper's order"),
    )
    objective: ObjectiveName = objective_field("MaskPro, Algorithm 1: the loss of the text")

    @model_validator(mode="before")
    @classmethod
    def _defaults_that_depend_on_others(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        filled = dict(given)
        if filled.get("mask_per") == "sequence":
            filled.setdefault("tracker", "leave_one_out")
        if filled.get("walk_rate") is not None:
            filled.setdefault("learning_rate", None)
        return filled

    @model_validator(mode="after")
    def _one_engine(self) -> Self:
        if self.sampler == "event" and self.engine not in ("auto", "event"):
            raise ValueError(f"sampler event needs engine event or auto, not engine {self.engine}")
        return self

    @model_validator(mode="after")
    def _others_to_leave_in(self) -> Self:
        if self.tracker == "leave_one_out" and self.mask_per == "batch" and self.masks_per_step < 2:
            raise ValueError("tracker leave_one_out needs masks_per_step of 2 or more, or mask_per sequence")
        return self

    @model_validator(mode="after")
    def _masks_of_a_step(self) -> Self:
        if self.mask_per == "batch":
            return self
        if self.masks_per_step != 1:
            given = f"masks_per_step = {self.masks_per_step}"
            raise ValueError(f"{given} with mask_per sequence: expected 1, as every sequence has one mask")
        if self.compat == "official":
            raise ValueError("mask_per sequence with compat official: the authors' code has one mask for a minibatch")
        return self

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.learning_rate is None and self.walk_rate is None:
            raise ValueError("learning_rate = null: expected a number, or a walk_rate")
        if self.learning_rate is not None and self.walk_rate is not None:
            both = f"learning_rate = {self.learning_rate:g} and walk_rate = {self.walk_rate:g}"
            raise ValueError(f"{both}: expected one of them, as walk_rate sets the learning rate")
        return self

    @model_validator(mode="after")
    def _logits_that_a_store_can_hold(self) -> Self:
        if self.initial_logits != "constant" and self.logits != "float32":
            given = f"logits = {self.logits} with initial_logits = {self.initial_logits}"
            raise ValueError(f"{given}: expected float32, as it holds differences from constant logits")
        return self
