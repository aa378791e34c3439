"""The commands that look at cameras and manage those of a running streamer: options in, exit codes out."""

import argparse
from typing import TYPE_CHECKING

from faceanalytics.errors import ConfigError

if TYPE_CHECKING:
    from streamer.tools.connection import Connect

DEFAULT_PORT = 50051  # of publish.listen


def named(text: str, origin: str) -> tuple[str, str]:
    """Split NAME=URL. Raises ConfigError."""
    name, equals, address = text.partition("=")
    if not equals or "/" in name:
        raise ConfigError(f"{origin}: write NAME=URL, such as door=rtsp://10.0.0.5/main")
    return name, address


def addresses(arguments: argparse.Namespace, cameras: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the addresses by camera, with the password that the options give. Raises ConfigError."""
    from streamer.tools.passwords import complete

    return complete(cameras, arguments.ask_password, arguments.password_file)


def with_port(address: str) -> str:
    """Add the default port to an address without one; [::1] and the like keep their brackets."""
    host_ends = address.rfind("]") + 1
    return address if ":" in address[host_ends:] else f"{address}:{DEFAULT_PORT}"


def connect(arguments: argparse.Namespace) -> "Connect":
    """Return what connects to the streamer as the options and the environment say. Raises ConfigError."""
    from streamer.tools.connection import Login, connecting

    login = Login(
        token=arguments.token,
        token_file=arguments.token_file,
        tls=arguments.tls,
        tls_ca=arguments.tls_ca,
        tls_certificate=arguments.tls_cert,
        tls_key=arguments.tls_key,
        insecure=arguments.insecure,
    )
    return connecting(login.with_environment())


def probe(arguments: argparse.Namespace) -> int:
    """Run `streamer probe` and return its exit code."""
    from streamer.tools import probe as tool

    ((_, address),) = addresses(arguments, [("this camera", arguments.url)])
    settings = {"transport": arguments.transport, "tls_ca_file": arguments.tls_ca_file}
    return tool.probe(address, arguments.wait, arguments.json, **settings)


def status(arguments: argparse.Namespace) -> int:
    """Run `streamer status` and return its exit code."""
    from streamer.tools.streams import show_status

    return show_status(with_port(arguments.address), arguments.json, arguments.timeout, connect(arguments))


def streams(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer streams` and return its exit code."""
    from streamer.tools import streams as tool

    server, channel = with_port(arguments.server), connect(arguments)
    if arguments.action == "list":
        return tool.list_streams(server, arguments.json, channel)
    if arguments.action == "remove":
        return tool.remove_streams(server, arguments.names, channel)
    if arguments.action in ("pause", "resume"):
        paused = arguments.action == "pause"
        return tool.update_streams(
            server, arguments.names, {"paused": paused}, "paused" if paused else "resumed", False, channel
        )
    given = {name: getattr(arguments, name) for name in tool.SETTINGS if getattr(arguments, name, None) is not None}
    if arguments.action == "update":
        if arguments.uri:
            ((_, given["uri"]),) = addresses(arguments, [(arguments.names[0], arguments.uri)])
        elif arguments.ask_password or arguments.password_file:
            raise ConfigError("streams update: a password needs its address: add --uri rtsp://USER@HOST/PATH")
        return tool.update_streams(server, arguments.names, given, "updated", arguments.json, channel)
    ((name, uri),) = addresses(arguments, [named(arguments.camera, "streams add")])
    return tool.add_stream(server, name, given | {"uri": uri, "paused": arguments.paused}, arguments.json, channel)
