"""Pipeline stages: the workers of a replica whose model is split among them."""
