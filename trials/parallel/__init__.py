"""Several processes or slots that work on one trial: pipeline groups and mask parallelism."""
