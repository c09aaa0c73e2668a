"""The one family of errors that users see: one line that says what is wrong, where, and what to do."""


class ToolkitError(Exception):
    """A run that failed for a reason the user can act on: exit status 1."""

    exit_status = 1


class UsageError(ToolkitError):
    """A wrong call (unknown name, bad value, missing file named by the user): exit status 2."""

    exit_status = 2
