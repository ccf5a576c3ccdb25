"""This process on its machine: signals, threads, and a command line and addresses without passwords."""
