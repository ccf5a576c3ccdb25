"""The error that a reader of reports sees: always one line that says what was given and what would do."""


class ReportError(ValueError):
    """A report can't be made from what was given; the message is one line for the user."""
