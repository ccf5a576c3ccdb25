"""The hyperparameter ``objective`` of learned methods: the text's next token, or the dense model's predictions.

`settings` has the hyperparameter, without torch; `compute` makes the objective of a trial; `needs` says what it takes.
"""
