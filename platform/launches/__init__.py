"""A launch: who owns it, and where it stands."""
