"""One folder a method: its configuration, its maths as pure functions of tensors, and its run."""
