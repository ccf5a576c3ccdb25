"""What a run of a method is given: model, text, results shared with other trials, and the account of its cost."""
