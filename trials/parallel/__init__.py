"""Several processes or slots that work on one trial."""
