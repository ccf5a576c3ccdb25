"""One trial from its configuration to its result."""
