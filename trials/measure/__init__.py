"""What a trial costs: passes, seconds and memory."""
