"""What methods measure of the frozen model: statistics of layer inputs and norms of gradients."""
