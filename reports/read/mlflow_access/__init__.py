"""How nmlab reaches MLflow: which addresses it takes, how it connects, and how a failure is told in one line."""
