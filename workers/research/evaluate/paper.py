"""List the paper's results for SwinFace (arXiv 2308.11509) by protocol and metric."""

from collections.abc import Mapping

from workers.swinface.labels import ATTRIBUTES

_ATTRIBUTES = (  # percent, in the order of labels.ATTRIBUTES
    *(82.61, 96.04, 95.69, 91.41, 98.96, 74.72, 96.85, 93.18, 89.05, 98.99),
    *(96.09, 90.17, 95.94, 89.11, 98.27, 93.92, 84.73, 85.57, 99.19, 83.91),
    *(84.24, 92.62, 99.67, 87.30, 83.98, 77.08, 87.24, 94.96, 89.87, 97.75),
    *(94.60, 71.26, 93.78, 96.91, 94.07, 96.14, 96.09, 97.21, 86.72, 96.97),
)
PAPER: Mapping[str, Mapping[str, float]] = {
    "lfw": {"accuracy_percent": 99.87},
    "cfp_fp": {"accuracy_percent": 98.60},
    "agedb_30": {"accuracy_percent": 98.15},
    "calfw": {"accuracy_percent": 96.10},
    "cplfw": {"accuracy_percent": 93.42},
    "ijbc": {
        "tar_at_far_1e-06_percent": 90.82,
        "tar_at_far_1e-05_percent": 94.93,
        "tar_at_far_1e-04_percent": 96.73,
        "tar_at_far_1e-03_percent": 97.79,
        "tar_at_far_1e-02_percent": 98.43,
        "tar_at_far_1e-01_percent": 99.08,
    },
    "raf-db": {"expression_accuracy_percent": 90.97},
    "clap2015 val": {"mae_years": 2.50, "epsilon_error": 0.20},
    "clap2015 test": {"mae_years": 2.47, "epsilon_error": 0.22},
    "celeba": {
        "attributes_mean_percent": 91.32,
        **{f"attribute_{task.slug}_percent": value for task, value in zip(ATTRIBUTES, _ATTRIBUTES, strict=True)},
    },
}


def published(protocol: str, part: str | None = None) -> Mapping[str, float]:
    """Return the paper's results for a protocol, or for one part of it; empty if there are none."""
    return PAPER.get(f"{protocol} {part}" if part else protocol, {})
