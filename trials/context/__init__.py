"""What a run is given: the model, the text, shared results, and the account that it is charged to."""
