"""The base of the example's own errors, and all errors that are told to a user by their sentence alone."""

from prefect_pachyderm import PrefectPachydermError


class ScriptwrightError(Exception):
    """Something a user can mend; the message is one sentence that says what and how."""


USER_ERRORS = (ScriptwrightError, PrefectPachydermError)
