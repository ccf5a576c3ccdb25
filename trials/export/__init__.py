"""Import and export of masks: the masks of checkpoints, published masks, and the formats of other runtimes."""
