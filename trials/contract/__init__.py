"""Plain values that every package may import; nothing in here loads torch, Ray or MLflow."""
