"""The logits that learned methods start from: random, or the saliency by which a one-shot method chooses its mask.

The saliency may be that of `first_order`, which corrects another one by the gradient of the loss.

`settings` has the hyperparameters and their checks, without torch; `maths` makes logits of scores; `compute` finds the
scores once for all trials of a replica.
"""
