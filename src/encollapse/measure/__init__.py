"""Measurement: from features, or from a network and a loader, to collapse metrics and a `ClassGeometry`.

This package needs torch; importing ``encollapse`` alone does not load it.
"""

from encollapse.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:
    raise MissingDependencyError(
        "encollapse.measure needs torch; install it with: pip install 'encollapse[torch]'"
    ) from _error

from encollapse.measure.capturing import Captured, capture
from encollapse.measure.files import load_array, load_features, load_labels
from encollapse.measure.from_features import collapse
from encollapse.measure.moments import ClassMoments
from encollapse.measure.network import measure_model
from encollapse.measure.result import Collapse

__all__ = [
    "Captured",
    "ClassMoments",
    "Collapse",
    "capture",
    "collapse",
    "load_array",
    "load_features",
    "load_labels",
    "measure_model",
]
