"""What `docker compose up` runs, without Docker: it makes its keys once, and its services accept each other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from streamer.cli import main
from streamer.configfile import parse_config
from tests.conftest import ROOT
from workers.serve.config import load_config


def prepare(folder: Path) -> dict[str, bytes]:
    """Run deploy/prepare.sh; the files that are there then."""
    places = {name: folder / name.lower() for name in ("KEYS", "WORKER_KEYS", "ACCESS", "SCRAPE")}
    for place in places.values():
        place.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **{name: str(place) for name, place in places.items()}}
    subprocess.run(["sh", ROOT / "deploy" / "prepare.sh"], env=environment, check=True, capture_output=True)
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_keys_and_tokens_are_made_once_and_fit_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = prepare(tmp_path)
    assert set(made) == {
        *(f"keys/{name}" for name in ("ca.pem", "ca-key.pem", "server.pem", "server-key.pem", "streamer.key")),
        *("keys/health.token", "keys/workers/worker.pub", "worker_keys/worker.key", "worker_keys/metrics.token"),
        *(f"worker_keys/{name}" for name in ("ca.pem", "ca-key.pem", "server.pem", "server-key.pem")),
        *(f"scrape/{name}" for name in ("metrics.token", "streamer-ca.pem", "worker-ca.pem")),
        *("access/tokens.jsonl", "access/audit.jsonl"),
    }
    assert prepare(tmp_path) == made
    settings = (ROOT / "deploy" / "streamer.yaml").read_text()
    for place in ("/keys", "/access"):
        settings = settings.replace(f" {place}", f" {tmp_path}{place}")
    config = tmp_path / "streamer.yaml"
    config.write_text(settings)
    assert main(["config", "check", str(config)]) == 0
    capsys.readouterr()
    parsed = parse_config(yaml.safe_load(settings), "test")
    assert parsed.publish.tls is not None
    for path in (parsed.publish.tls.certificate, parsed.publish.tls.key):
        assert Path(path).is_file()


def test_the_worker_has_the_keys_that_its_address_needs() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    options = dict(one.removeprefix("--").split("=", 1) for one in compose["services"]["worker"]["command"][2:])
    names = ("metrics-listen", "metrics-certificate", "metrics-key", "metrics-token-file")
    measured = {name.replace("-", "_"): options[name] for name in names}
    config = load_config(None, {"connect": [options["connect"]], "keys": [options["keys"]], **measured})
    assert config.keys_of(options["connect"]) == "/worker-keys/worker.key"
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)
