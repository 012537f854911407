"""Real networks on real data: small models, the UFM objective, one training loop, and what came of it."""

from encollapse.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingDependencyError(
        "encollapse.train needs PyTorch, which is not installed: pip install 'encollapse[study]'"
    ) from None

from encollapse.train.fit import fit
from encollapse.train.models import Backbone, Classifier, names
from encollapse.train.objective import objective
from encollapse.train.run import Run, Status
from encollapse.train.stationarity import Stationarity, stationarity

__all__ = [
    "Backbone",
    "Classifier",
    "Run",
    "Stationarity",
    "Status",
    "fit",
    "names",
    "objective",
    "stationarity",
]
