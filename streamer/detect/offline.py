"""Libraries that would use the network or change the process, imported so that they do neither.

Import ultralytics and onnxruntime by these functions only: what they respect is read when they are imported.
"""

import logging
import os
import tempfile
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import cv2
import numpy as np

OFFLINE = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime reports what it runs to its maker, from 1.29 on also on Linux
    "YOLO_OFFLINE": "true",  # ultralytics looks names up on the network and sends statistics
    "YOLO_AUTOINSTALL": "false",  # it calls pip
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "true",  # it asks for the package onnx, which running ONNX does not need
}


def import_onnxruntime() -> Any:
    """onnxruntime without its reports. They cannot be stopped any more once it has been imported without this."""
    os.environ.update(OFFLINE)
    return import_module("onnxruntime")


@cache
def import_ultralytics() -> Any:
    """ultralytics, neither using the network nor installing anything nor changing the rest of the process.

    Left alone, it looks a name up on the network when it is imported, keeps settings in the home folder that allow
    statistics to be sent, and sets numpy's printing, OpenCV's threads, Pillow's `open`, filters of warnings, a log
    handler on stdout, and OMP_NUM_THREADS=1, which child processes would inherit.
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
        _ = ultralytics.YOLO  # most is imported when it is first asked for
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    cv2.setNumThreads(cv2_threads)
    Image.open = open_image
    log = logging.getLogger("ultralytics")
    log.handlers.clear()
    log.propagate = True
    if ultralytics.utils.ONLINE:
        raise RuntimeError("something imported ultralytics before import_ultralytics could keep it off the network")
    return ultralytics
