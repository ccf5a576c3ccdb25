"""A launch: its folder, owner, journal, state and live view."""
