"""The base of every error that a user can cause or mend."""


class ScriptwrightError(Exception):
    """Something a user can mend; the message is one sentence that says what and how."""
