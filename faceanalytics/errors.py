"""Errors that the user can do something about. Each kind has its exit code on the command line."""


class UserError(Exception):
    """A message for the user that says what is wrong and what to do; ends the command with `exit_code`."""

    exit_code = 2


class ConfigError(UserError):
    """A setting or an argument is not usable."""

    exit_code = 2


class InputError(UserError):
    """An input, such as a video, an image or a data set, cannot be read."""

    exit_code = 3


class ModelError(UserError):
    """Weights or a device are not usable; nothing falls back to another device or to untrained weights."""

    exit_code = 4


class LostDependency(UserError):
    """Something the run cannot go on without has gone, such as the last worker of an analysis."""

    exit_code = 1


class StreamerError(LostDependency):
    """A streamer refuses what it was asked, or does not answer."""

    def __init__(self, code: str, message: str, reason: str = "") -> None:
        """`code`: the status of gRPC, such as NOT_FOUND; `reason`: the word of ErrorReason, empty without one."""
        super().__init__(message)
        self.code = code
        self.reason = reason


PARTIAL_RESULT = 5  # exit code: some inputs failed, the outputs of the others are valid


def user_error_in(group: BaseExceptionGroup[BaseException]) -> UserError | None:
    """Return the first error of a group of UserErrors; None if one of them is a bug."""
    users, bugs = group.split(UserError)
    if users is None or bugs is not None:
        return None
    error: BaseException = users
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, UserError)
    return error
