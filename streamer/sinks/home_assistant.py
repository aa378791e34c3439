"""Describes cameras for Home Assistant's MQTT discovery: one device per camera, and what it measures.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

import hashlib
import re
from importlib.metadata import version
from typing import Any

BIRTH = "status"  # below the discovery prefix: Home Assistant says `online` there when it has started


def discovery(prefix: str, topics: str, camera: str, people: bool) -> dict[str, dict[str, Any]]:
    """Return the retained messages that describe a camera, by topic.

    `prefix`: of the discovery; `topics`: of the sink; `people`: the topic with the names of known people is there.
    """
    node = _safe(f"{topics}_{camera}".replace("/", "_"))
    shared: dict[str, Any] = {
        "availability_topic": f"{topics}/available",
        "device": {
            "identifiers": [node],
            "name": camera,
            "manufacturer": "faceanalytics",
            "model": "Camera",
            "sw_version": version("faceanalytics"),
        },
        "origin": {"name": "faceanalytics", "sw_version": version("faceanalytics")},
    }
    faces = {"state_topic": f"{topics}/{camera}/faces"}
    entities: dict[tuple[str, str], dict[str, Any]] = {
        ("sensor", "faces"): {
            "name": "Faces",
            **faces,
            "state_class": "measurement",
            "unit_of_measurement": "faces",
            "icon": "mdi:face-recognition",
        },
        ("binary_sensor", "presence"): {
            "name": "Presence",
            **faces,
            "value_template": "{{ 'ON' if value | int(0) > 0 else 'OFF' }}",
            "device_class": "occupancy",
        },
        ("binary_sensor", "connection"): {
            "name": "Connection",
            "state_topic": f"{topics}/{camera}/state",
            "value_template": "{{ 'ON' if value == 'running' else 'OFF' }}",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
        },
        ("sensor", "people"): {
            "name": "People",
            "state_topic": f"{topics}/{camera}/people",
            "value_template": "{{ (value_json | join(', '))[:255] }}",  # the longest state there is
            "icon": "mdi:account-group",
        },
    }
    if not people:
        del entities["sensor", "people"]
    return {
        f"{prefix}/{component}/{node}/{name}/config": {**entity, "unique_id": f"{node}_{name}", **shared}
        for (component, name), entity in entities.items()
    }


def _safe(text: str) -> str:
    """Return a text as ids may be: letters, digits, `_` and `-`. Different texts stay different."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    return plain if plain == text else f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
