"""A launch as people see it: a snapshot as lines of text (pure), and those on a terminal, in a log and as HTML."""
