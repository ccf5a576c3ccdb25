"""Mask parallelism: several slots evaluate the masks of one trial."""
