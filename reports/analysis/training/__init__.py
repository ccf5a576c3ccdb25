"""The course of training: quality by tokens spent, and ranks over time."""
