"""The error for users of reports: one line that says what was given and what was expected."""


class ReportError(ValueError):
    """A report can't be made from what was given; the message is one line for the user."""
