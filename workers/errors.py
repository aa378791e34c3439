"""Trouble that the user can do something about: each kind has the exit code of the command line."""


class UserError(Exception):
    """A message for the user that says what is wrong and what to do; ends the command with `exit_code`."""

    exit_code = 2


class ConfigError(UserError):
    """A setting or an argument is not usable."""

    exit_code = 2


class InputError(UserError):
    """No image could be read."""

    exit_code = 3


class ModelError(UserError):
    """Weights or a device are not usable; nothing falls back to another device or to untrained weights."""

    exit_code = 4


PARTIAL_RESULT = 5  # exit code: some inputs failed, the outputs of the others are valid
