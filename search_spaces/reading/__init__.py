"""Read a study: YAML, presets and overrides, and messages about what is wrong."""
