"""Masks compared entry by entry: overlaps of different masks, and what learning changed."""
