"""The Ray Tune run of a sweep: its searcher and its light trial actors."""
