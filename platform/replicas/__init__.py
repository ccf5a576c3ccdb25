"""Replicas: one Ray Train run for each copy of the model, and what runs inside its workers."""
