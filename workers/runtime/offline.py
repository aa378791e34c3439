"""OpenVINO, kept from writing home: the only place that imports it.

It reports its use to its maker through the package openvino_telemetry; where that cannot be imported, it does not.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["openvino", "ops"]
