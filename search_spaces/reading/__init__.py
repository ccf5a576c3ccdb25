"""From YAML, presets and overrides to a study."""
