"""Measuring what a trial costs: passes, seconds and memory."""
