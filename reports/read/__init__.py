"""Reads MLflow stores into typed values."""
