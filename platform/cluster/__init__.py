"""Start or join a Ray cluster, check its nodes, and submit jobs to it."""
