"""The workers of one replica whose model is spread over several."""
