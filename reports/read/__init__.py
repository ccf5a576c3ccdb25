"""From MLflow to typed values."""
