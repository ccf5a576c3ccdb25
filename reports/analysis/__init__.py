"""What the runs of a study show: configurations, comparisons, budgets, claims and published numbers."""
