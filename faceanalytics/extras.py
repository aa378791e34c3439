"""Packages that only some uses need, and the extra of this project that installs them."""

from importlib.util import find_spec

from faceanalytics.errors import ConfigError


class MissingPackage(ConfigError):
    """A package that an extra installs is missing; the message holds the line that installs it."""


def require(extra: str, *packages: str, use: str, hint: str = "") -> None:
    """Check that `packages` are installed, without importing them.

    `extra`: the extra of this project that installs them; `use`: what needs them, as the beginning of the message;
    `hint`: another way out, as its end. Raises MissingPackage.
    """
    absent = [package for package in packages if find_spec(package) is None]
    if absent:
        line = f"pip install 'faceanalytics[{extra}]'"
        verb = "is" if len(absent) == 1 else "are"
        raise MissingPackage(f"{use}: {', '.join(absent)} {verb} not installed: {line}{hint}")
