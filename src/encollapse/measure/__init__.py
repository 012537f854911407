"""Measurement: from features, or from a network and a loader, to collapse metrics and a `ClassGeometry`.

This package needs torch. Importing ``encollapse`` alone does not load it. The adapters to torchmetrics,
Lightning and transformers load with their framework when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from encollapse._internal.extras import needed_by
from encollapse.data.io.arrays import load_array, load_labels

with needed_by("encollapse.measure", "torch"):
    import torch as _torch  # noqa: F401

from encollapse.measure import adapters as _adapters
from encollapse.measure.beyond_classes.kernel_matrix import kernel_nc1
from encollapse.measure.beyond_classes.multi_label import tag_angles
from encollapse.measure.beyond_classes.ood import auroc, nc5, nci_scores, neco_scores
from encollapse.measure.beyond_classes.regression import RegressionCollapse, regression_collapse
from encollapse.measure.checkpoints import Checkpoints, measure_checkpoints
from encollapse.measure.class_moments import ClassMoments
from encollapse.measure.forward.capture import Captured, capture
from encollapse.measure.from_features import collapse, load_features
from encollapse.measure.held_out import HeldOut, held_out
from encollapse.measure.layers import measure_layers
from encollapse.measure.model import measure_model
from encollapse.measure.result import Collapse
from encollapse.measure.shards.executing import process_pool
from encollapse.measure.shards.measuring import count_classes, measure_shards

if TYPE_CHECKING:
    from encollapse.measure.adapters.lightning_callback import CollapseCallback
    from encollapse.measure.adapters.metric import NeuralCollapse
    from encollapse.measure.adapters.trainer_callback import CollapseTrainerCallback

__all__ = [
    "Captured",
    "Checkpoints",
    "ClassMoments",
    "Collapse",
    "CollapseCallback",
    "CollapseTrainerCallback",
    "HeldOut",
    "NeuralCollapse",
    "RegressionCollapse",
    "auroc",
    "capture",
    "collapse",
    "count_classes",
    "held_out",
    "kernel_nc1",
    "load_array",
    "load_features",
    "load_labels",
    "measure_checkpoints",
    "measure_layers",
    "measure_model",
    "measure_shards",
    "nc5",
    "nci_scores",
    "neco_scores",
    "process_pool",
    "regression_collapse",
    "tag_angles",
]


def __getattr__(name: str) -> Any:
    if name in _adapters.NAMES:
        return _adapters.load(name)
    raise AttributeError(f"module 'encollapse.measure' has no attribute {name!r}")
