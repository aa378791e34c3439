"""Import libraries that would use the network or change the process in a way that they do neither.

Import ultralytics, onnxruntime and OpenVINO with these functions only: they read their settings when they are
imported.
"""

import logging
import os
import sys
import tempfile
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import cv2
import numpy as np

OFFLINE = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime reports usage to its vendor, since 1.29 on Linux too
    "YOLO_OFFLINE": "true",  # ultralytics looks up names on the network and sends statistics
    "YOLO_AUTOINSTALL": "false",  # it runs pip
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "true",  # it requires the package onnx, which running ONNX does not need
}


def import_onnxruntime() -> Any:
    """Import onnxruntime without its usage reports, which cannot be stopped after a plain import."""
    os.environ.update(OFFLINE)
    return import_module("onnxruntime")


@cache
def import_openvino() -> Any:
    """Import OpenVINO without its usage reports: it makes none where the package for them cannot be imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import_module("openvino.preprocess")
    return import_module("openvino")


@cache
def import_ultralytics() -> Any:
    """Import ultralytics so that it does not use the network, install packages or change the rest of the process.

    A plain import looks up a name on the network, keeps settings in the home folder that allow statistics to be sent,
    and changes numpy's printing, OpenCV's threads, Pillow's `open`, warning filters, a log handler on stdout, and
    OMP_NUM_THREADS=1, which child processes would inherit. Raises RuntimeError if that has already happened.
    """
    from PIL import Image

    os.environ.update(OFFLINE)
    os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "true")
    environment, cv2_threads, open_image = dict(os.environ), cv2.getNumThreads(), Image.open
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), np.printoptions():
        warnings.simplefilter("ignore")
        os.environ["YOLO_CONFIG_DIR"] = folder
        ultralytics: Any = import_module("ultralytics")
        ultralytics.settings.update(sync=False)
        _ = ultralytics.YOLO  # most of it is imported at the first access
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    cv2.setNumThreads(cv2_threads)
    Image.open = open_image
    log = logging.getLogger("ultralytics")
    log.handlers.clear()
    log.propagate = True
    if ultralytics.utils.ONLINE:
        raise RuntimeError("ultralytics was imported before import_ultralytics() could keep it off the network")
    return ultralytics
