"""The form of a study."""
