"""Write a study for a model and a text: what fits, with which ranges, and why."""
