"""The schema of a study: its sections, types and rules."""
