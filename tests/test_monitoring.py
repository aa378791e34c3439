"""The Grafana dashboard, the alerts and Prometheus itself, which reads a real streamer."""

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from streamer.cli import main
from tests.conftest import ROOT
from tests.end_to_end.programs import free_port, serve
from tests.support.metric_names import metric_names
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S, until

DASHBOARD = ROOT / "deploy" / "grafana" / "faceanalytics.json"


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def queries() -> Iterator[str]:
    for panel in panels():
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        query = variable["query"]
        yield query["query"] if isinstance(query, dict) else ""


def test_the_panels_of_the_dashboard_are_whole_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids)) > 40
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["targets"], panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_the_dashboard_shows_metrics_that_exist_and_none_is_forgotten_that_matters() -> None:
    used = {name for query in queries() for name in re.findall(r"\b(?:faceanalytics|process)_[a-z_]+", query)}
    assert used - metric_names() == set()
    counted = {name for name in metric_names() if name.startswith("faceanalytics_") and name.endswith("_total")}
    left_out = {
        *(f"faceanalytics_{name}_total" for name in ("stream_connects", "searches", "frames_time_estimated")),
        *(f"faceanalytics_{name}_total" for name in ("batches_refused", "refusals", "answers_undelivered")),
        *(f"faceanalytics_{name}_total" for name in ("job_upload_bytes", "audit_unstored", "pictures_encoded")),
    }
    assert counted - used == left_out


@pytest.mark.promtool
def test_the_alerts_and_the_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=ROOT / "deploy", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    rules = [
        {"record": f"panel:number:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(queries())
        if query and "label_values" not in query and query != "prometheus"
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.promtool
def test_each_alert_has_a_test() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
    tests = yaml.safe_load((ROOT / "deploy" / "alerts_test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert {rule["alert"] for rule in rules} - fired == set()


@pytest.mark.slow
@pytest.mark.promtool
def test_prometheus_reads_a_streamer_with_tls_and_a_token_and_its_alert_fires(tmp_path: Path) -> None:
    keys, token = tmp_path / "keys", tmp_path / "metrics.token"
    access = str(tmp_path / "access")
    assert main(["keys", "certificate", "127.0.0.1", "--folder", str(keys)]) == 0
    create = ("tokens", "create", "--folder", access, "--name", "prometheus", "--scope", "read", "--out", str(token))
    assert main(list(create)) == 0
    port, own = free_port(), free_port()
    tls = {"certificate": str(keys / "server.pem"), "key": str(keys / "server-key.pem")}
    settings = {"metrics": {"listen": f"0.0.0.0:{port}", "tls": tls}, "access": {"folder": access}}
    text = (ROOT / "deploy" / "prometheus.yml").read_text()  # as it is deployed, with the places of this test
    text = text.replace("/scrape/metrics.token", str(token)).replace("streamer:9464", f"127.0.0.1:{port}")
    config = yaml.safe_load(text)
    config["scrape_configs"][0]["tls_config"]["ca_file"] = str(keys / "ca.pem")
    del config["scrape_configs"][1]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = re.sub(r"for: \d+m", "for: 0s", (ROOT / "deploy" / "alerts.yml").read_text())
    (tmp_path / "alerts.yml").write_text(rules)
    subprocess.run(["promtool", "check", "config", str(tmp_path / "prometheus.yml")], check=True, capture_output=True)
    detector = write_lite_patch_detector(tmp_path / "detector.onnx")
    command = [
        *("prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"),
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    with serve(tmp_path, detector, f"ipc://{tmp_path}/w", {}, **settings) as streamer:
        streamer.wait_for(r"serving 0 streams")
        with (tmp_path / "log").open("wb") as log:
            prometheus = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: "NoWorker" in firing(own), "the alert of a streamer without workers")
            assert ask(own, "faceanalytics_workers_alive") == ["0"]
            assert ask(own, 'up{job="streamer"}') == ["1"]
            (expiry,) = ask(own, "faceanalytics_certificate_expiry_timestamp_seconds - time()")
            assert float(expiry) > 86_400
            assert main(["tokens", "revoke", "prometheus", "--config", str(tmp_path / "serve.yaml")]) == 0
            until(lambda: "ProgramDown" in firing(own), "the end of the readings")
        finally:
            prometheus.send_signal(signal.SIGTERM)
            prometheus.wait(WAIT_S)


def answer(port: int, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=WAIT_S) as response:
            return json.load(response)["data"]
    except OSError:  # it is starting
        return {}


def firing(port: int) -> set[str]:
    return {one["labels"]["alertname"] for one in answer(port, "alerts").get("alerts", ()) if one["state"] == "firing"}


def ask(port: int, query: str) -> list[str]:
    data = answer(port, f"query?query={quote(query)}")
    return [one["value"][1] for one in data["result"]]
