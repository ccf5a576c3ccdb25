"""Several slots that evaluate the masks of one trial."""
