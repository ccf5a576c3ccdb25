"""A mask drawn uniformly among all N:M masks: the lower bound of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Method, MethodConfig, Run
from nmlab.trials.methods.one_shot import OneShotRun

if TYPE_CHECKING:
    from nmlab.trials.methods.base import TrialContext


class Random(Method):
    name = "random"
    about = About(
        "Keeps N of every M weights at random: all masks are equally probable, each seed draws another.\n"
        "The lower bound of a comparison, which every method should exceed.",
        paper="-",
        cost="nothing",
    )
    depends_on_seed = True
    reads_text = False
    supports_pipeline_stages = True
    imports = ("nmlab.trials.masks.randomness", "nmlab.trials.masks.topn")

    def start(self, context: TrialContext, config: MethodConfig) -> Run:
        import torch

        from nmlab.trials.masks.randomness import keyed_generator
        from nmlab.trials.masks.topn import topn

        masks = {}
        for layer in context.model.frozen.layers:
            generator = keyed_generator(context.seed, "random mask", layer.name)
            scores = torch.from_numpy(generator.random((layer.out_features, layer.in_features)))
            masks[layer.name] = topn(scores, context.pattern).to(context.model.frozen.device)
        return OneShotRun(masks)


METHOD = Random()

__all__ = ["METHOD", "Random"]
