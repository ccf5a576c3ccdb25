"""Measurements of the frozen model for methods: statistics of layer inputs and norms of gradients."""
