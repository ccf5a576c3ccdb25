"""What this process is to its machine: its signals, its threads, and what its command line may show."""
