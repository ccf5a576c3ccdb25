"""What MaskPro alone records: loss residuals, and losses of sampled masks."""
