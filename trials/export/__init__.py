"""Masks that enter and leave the house: what a checkpoint holds, other people's masks, and other runtimes' formats."""
