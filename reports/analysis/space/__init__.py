"""Effects of settings over the searched space: importance, and the region in which runs diverged."""
