"""Import OpenVINO with its telemetry turned off; every other module imports it from here.

OpenVINO reports its use through the package openvino_telemetry, and does not where that cannot be imported.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["openvino", "ops"]
