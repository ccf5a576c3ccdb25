"""Analysis of the runs of a study: configurations, comparisons, budgets, claims and published numbers."""
