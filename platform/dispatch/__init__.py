"""Who runs what: the dispatcher, its state, its client, the link of a worker and the loop of the driver."""
