"""Access to MLflow: accepted addresses, connections, and failures as one line."""
