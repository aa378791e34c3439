"""The part of the command line that makes tokens, keys and certificates, and lists the audit log."""

import argparse
from pathlib import Path

from faceanalytics.commandline import Commands, add_command, add_subcommands

SCOPES = ("read", "biometric", "operate", "enrol", "admin")
TOKENS = """Make, list and revoke the tokens of the gRPC API. They are kept, as hashes, in the store of the
configuration, or with `store: null` in its access.folder. A running streamer notices changes within a second or so. As
soon as there is a token, every call needs one."""
TOKENS_EXAMPLES = """
streamer tokens create --config live.yaml --name counter --scope read
streamer tokens list --config live.yaml
streamer tokens revoke counter --config live.yaml
"""
CREATE = """Make a token and print it: it is shown this once. Scopes: read (tracks, cameras and models, without names
and embeddings), biometric (names, embeddings and faces, beside read), operate (add, change and remove cameras), enrol
(change the gallery), admin (everything)."""
CREATE_EXAMPLES = """
streamer tokens create --config live.yaml --name counter --scope read
streamer tokens create --config live.yaml --name desk --scope read --scope biometric --camera door --expires 90d
streamer tokens create --config live.yaml --name script --scope operate --out script.token
"""
LIST = "List the tokens with their scopes, cameras and states."
REVOKE = "Revoke tokens, by name or id. Calls in progress end within a second or so."
AUDIT = """List who changed what over the API or with `streamer tokens`, and which calls were refused, oldest first. The
entries are kept in the store for store.keep.audit_days, or with `store: null` in access.folder."""
AUDIT_EXAMPLES = """
streamer audit list --config live.yaml --since 7d
streamer audit list --config live.yaml --who desk --method DeleteStream --json
"""
KEYS = """Make the keys of the connection between streamer and workers, a certificate for the gRPC server, and the key
that encrypts stored values."""
KEYS_EXAMPLES = """
streamer keys new --worker gpu1
streamer keys list
streamer keys revoke gpu1
streamer keys certificate streamer.example.org 10.0.0.7
"""
NEW = """Make the keys of a streamer, unless it has some, and of a worker: its public key is put into the folder, which
is dispatch.keys of the configuration, and what it needs is written to a file. Copy that file to the worker's machine
and name it with `swinface worker --keys`."""
NEW_EXAMPLES = """
streamer keys new --worker gpu1
streamer keys new --folder /etc/faceanalytics/keys --worker gpu1 --out gpu1.key
"""
CERTIFICATE = """Make a certificate for the gRPC server, server.pem with server-key.pem, for publish.tls of the
configuration. It is signed by an authority that is made the first time; give ca.pem to the clients (--tls-ca), and keep
ca-key.pem to yourself. Run it again to renew the certificate: a running streamer takes the new one."""
ENCRYPTION = """Make a key that encrypts stored values. Keep a copy of it: without it nobody can read these values."""


def add_tokens(commands: Commands) -> None:
    """Add `streamer tokens` and its commands."""
    parser = add_command(commands, "tokens", "manage the tokens of the gRPC API", TOKENS, TOKENS_EXAMPLES)
    actions = add_subcommands(parser, "action")
    creating = add_command(actions, "create", "make a token", CREATE, CREATE_EXAMPLES)
    creating.add_argument("--name", required=True, metavar="NAME", help="name for lists and the audit log")
    creating.add_argument(
        "--scope", action="append", required=True, choices=SCOPES, help="what it may do; may be repeated"
    )
    creating.add_argument(
        "--camera", action="append", default=[], metavar="ID", help="restrict it to this stream; may be repeated"
    )
    creating.add_argument(
        "--expires", default="365d", metavar="TIME", help="when it expires, such as 90d, 12h or 30m, or never"
    )
    creating.add_argument(
        "--out", type=Path, metavar="FILE", help="write it to this file, for its owner only (default: print it)"
    )
    listing = add_command(actions, "list", "list the tokens", LIST, "streamer tokens list --config live.yaml")
    listing.add_argument("--json", action="store_true", help="print JSON lines")
    revoking = add_command(actions, "revoke", "revoke tokens", REVOKE, "streamer tokens revoke desk --config live.yaml")
    revoking.add_argument("tokens", nargs="+", metavar="NAME|ID", help="name or id of a token")
    for action in actions.choices.values():
        _place(action)


def add_audit(commands: Commands) -> None:
    """Add `streamer audit` and its command."""
    parser = add_command(commands, "audit", "look at who did what", AUDIT, AUDIT_EXAMPLES)
    actions = add_subcommands(parser, "action")
    listing = add_command(actions, "list", "list who did what", AUDIT, AUDIT_EXAMPLES)
    listing.add_argument(
        "--since",
        metavar="TIME",
        help="only entries since this time in UTC, or so far back, such as 12h or 7d (default: all)",
    )
    listing.add_argument(
        "--who", default="", metavar="TEXT", help="only entries of these: part of a name, id or address (default: all)"
    )
    listing.add_argument(
        "--method", default="", metavar="TEXT", help="only entries of this method, or part of its name (default: all)"
    )
    listing.add_argument("--json", action="store_true", help="print JSON lines")
    _place(listing)


def _place(action: argparse.ArgumentParser) -> None:
    place = action.add_mutually_exclusive_group()
    place.add_argument(
        "--config", type=Path, metavar="CONFIG", help="YAML file of the streamer, see configs/ (default: all defaults)"
    )
    place.add_argument(
        "--folder", type=Path, metavar="DIR", help="access.folder of a streamer without a store (default: see --config)"
    )


def add_keys(commands: Commands) -> None:
    """Add `streamer keys` and its commands."""
    parser = add_command(commands, "keys", "make keys and certificates", KEYS, KEYS_EXAMPLES)
    actions = add_subcommands(parser, "action")
    making = add_command(actions, "new", "make keys of streamer and workers", NEW, NEW_EXAMPLES)
    making.add_argument(
        "--worker", action="append", default=[], metavar="NAME", help="worker to allow; may be repeated"
    )
    making.add_argument(
        "--out", type=Path, metavar="FILE", help="file for the worker's keys (default: NAME.key in this folder)"
    )
    listing = "list", "list the workers that may connect", "List the names and public keys of the allowed workers."
    _folder(add_command(actions, *listing, "streamer keys list"))
    text = "Allow workers no longer. A running streamer stops giving them work."
    revoking = add_command(actions, "revoke", "allow workers no longer", text, "streamer keys revoke gpu1")
    revoking.add_argument("workers", nargs="+", metavar="NAME", help="name of a worker")
    example = "streamer keys certificate streamer.example.org 10.0.0.7"
    certifying = add_command(actions, "certificate", "make a certificate for gRPC", CERTIFICATE, example)
    certifying.add_argument(
        "hosts", nargs="+", metavar="HOST", help="name or address under which clients reach the streamer"
    )
    certifying.add_argument("--days", type=int, default=365, metavar="N", help="days until it expires")
    for action in (making, revoking, certifying):
        _folder(action)
    example = "streamer keys encryption --out store.key"
    encrypting = add_command(actions, "encryption", "make a key that encrypts stored values", ENCRYPTION, example)
    encrypting.add_argument("--out", type=Path, required=True, metavar="FILE", help="file for the key")


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder", type=Path, default=Path("keys"), metavar="DIR", help="folder of the keys and certificates"
    )
