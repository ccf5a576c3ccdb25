"""What a run of a method is given: the model, the text, shared results, and the account of its cost."""
