"""Figures of what only MaskPro records: loss residuals, estimators, logit magnitudes, and masks of its final logits."""
