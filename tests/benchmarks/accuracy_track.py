"""How well the tracker alone follows the public sequences of the data folder: MOTA, IDF1, identity switches.

The boxes of LTFT's truth are the detector's own, so only IDF1 and the switches count there. The defaults were chosen on
these sequences: expect a point of selection bias.
"""

import sys
import tempfile
from pathlib import Path

from tests.conftest import shared_folder
from tests.mot_score import measured

STRIDES = (1, 3, 6)  # every frame, every third, every sixth


def main() -> int:
    folder = shared_folder() / "data" / "tracking"
    if not folder.is_dir():
        print(f"needs the sequences of the data folder at {folder} (FACEANALYTICS_SHARED)", file=sys.stderr)
        return 3
    print(f"{'sequence':<22} {'every':>5} {'MOTA':>6} {'IDF1':>6} {'switches':>8}")
    for sequence, fps in sequences(folder):
        for stride in STRIDES if "ltft" in sequence else (1,):
            with tempfile.TemporaryDirectory() as scratch:
                mota, idf1, switches = measured(Path(scratch), folder / sequence, fps, stride)
            print(f"{sequence:<22} {stride:>5} {100 * mota:>6.1f} {100 * idf1:>6.1f} {switches:>8}", flush=True)
    return 0


def sequences(folder: Path) -> list[tuple[str, float]]:
    """Names and frames per second."""
    faces = [(path.parent, float(path.read_text().split()[1])) for path in sorted(folder.glob("ltft/*/info"))]
    people = [(path, 25.0) for path in sorted(folder.glob("tud/*"))]
    return [(str(path.relative_to(folder)), fps) for path, fps in people + faces]


if __name__ == "__main__":
    sys.exit(main())
