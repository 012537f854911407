"""`NeuralCollapse`: class moments as a torchmetrics metric."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from torchmetrics import Metric

from encollapse._internal import checks
from encollapse.encodings import Encoding
from encollapse.encodings.registry import resolved
from encollapse.errors import ArgumentError
from encollapse.measure.adapters import chosen_metrics
from encollapse.measure.class_moments import ClassMoments
from encollapse.measure.decisions.classifier import require_encoding
from encollapse.measure.forward.running import acting_parameters
from encollapse.measure.packing import MomentShape, merge_packed, pack, unpack
from encollapse.measure.result import VALUES, Collapse
from encollapse.metrics import METRICS, Convention, as_convention

_SET_AT_EACH_BATCH = frozenset({"_computed", "_update_count"})
"""What torchmetrics sets before it calls ``update``."""


class _SharedHead:
    """The layer whose weight and bias a metric reads. A deep copy refers to the same layer.

    Held this way, a network's layer becomes no submodule of the metric, and clones of the metric keep
    looking at the layer that is being trained.
    """

    def __init__(self, layer: nn.Linear | None) -> None:
        self._layer = None if layer is None else checks.instance(layer, "head", nn.Linear, what="a torch.nn.Linear")

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedHead:
        return self

    def parameters(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Weight and bias as they are now, or None for what there is not."""
        return (None, None) if self._layer is None else acting_parameters(self._layer)


class NeuralCollapse(Metric):
    """Collapse metrics of features that arrive in batches, as a dict of scalars, NaN where there is no value.

    :meth:`collapse` gives the whole :class:`Collapse` with the reasons. What needs the samples twice (NC4) is
    not among the metrics. The state stays float64 whatever the metric is cast to. It is a :class:`ClassMoments`
    from batch to batch, and the vector `moments` when torchmetrics reads, synchronizes, merges or saves it.

    Parameters
    ----------
    num_classes, feature_dim, covariance
        As for :class:`ClassMoments`.
    head : torch.nn.Linear, optional
        The layer on top of the features, read whenever values are computed. Copies of the metric share it.
    encoding : Encoding or str, optional
        What its outputs are trained toward.
    metrics : sequence of str, optional
        Which values to compute. Default: all of them.
    convention : str or Convention
        Averaging and scaling choices.
    **kwargs
        For ``torchmetrics.Metric``.

    Raises
    ------
    ArgumentError
        If a metric is unknown, or head, encoding and sizes disagree.
    ArgumentTypeError
        If the head is no ``torch.nn.Linear``.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> metric = ec.measure.NeuralCollapse(num_classes=3, feature_dim=3, metrics=("cdnv", "nc2_equiangular"))
    >>> metric.update(torch.eye(3), torch.arange(3))
    >>> {name: round(float(value), 6) for name, value in metric.compute().items()}
    {'cdnv': 0.0, 'nc2_equiangular': 0.0}
    """

    is_differentiable: ClassVar[bool] = False  # type: ignore[misc]  # torchmetrics declares it per instance
    full_state_update: ClassVar[bool] = False  # type: ignore[misc]
    _packed: torch.Tensor | None
    _live: ClassMoments | None
    __jit_unused_properties__: ClassVar[list[str]] = [*Metric.__jit_unused_properties__, "moments"]

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        *,
        head: nn.Linear | None = None,
        encoding: Encoding | str | None = None,
        covariance: bool = True,
        metrics: Sequence[str] | None = None,
        convention: str | Convention = "default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        known = tuple(name for name in VALUES if "decisions" not in METRICS[name].needs)
        self._names = chosen_metrics(metrics, known)
        self._shape = MomentShape(num_classes, feature_dim, covariance)
        self._shape.blank()  # refuses sizes that are none
        encoding = resolved(encoding, num_classes)
        require_encoding(encoding, num_classes)
        if isinstance(head, nn.Linear) and head.in_features != feature_dim:
            raise ArgumentError(f"head: takes {head.in_features} features, and feature_dim is {feature_dim}")
        self._head, self._encoding, self._convention = _SharedHead(head), encoding, as_convention(convention)
        merge = partial(merge_packed, shape=self._shape)
        # Without entries it stands for moments of nothing: to copy all their zeros takes longer than many batches.
        self.add_state("moments", torch.zeros(0, dtype=torch.float64), dist_reduce_fx=merge)

    def __setattr__(self, name: str, value: Any) -> None:
        # torch looks at every attribute for parameters and modules, which takes as long as a small batch.
        if name in _SET_AT_EACH_BATCH:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def moments(self) -> torch.Tensor:
        """The state as torchmetrics keeps it, one vector. It is packed when it is asked for."""
        packed = self._packed
        if packed is None or not len(packed):
            packed = pack(self._gathered())
            self._packed, self._live = packed, None
        return packed

    @moments.setter
    def moments(self, packed: torch.Tensor) -> None:
        self._packed, self._live = packed, None

    def _gathered(self) -> ClassMoments:
        """The moments that batches are added to. From then on they, and not the vector, are the state."""
        live = self._live
        if live is None:
            assert self._packed is not None
            live = unpack(self._packed, self._shape)
            self._packed, self._live = None, live
        return live

    def __hash__(self) -> int:
        # That of torchmetrics reads the state, whenever somebody asks the network for its parameters.
        return hash((type(self).__name__, id(self)))

    def update(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Take in features (n, d) and labels (n,)."""
        self._gathered().update(features, labels)

    def compute(self) -> dict[str, torch.Tensor]:
        """Return the value of each metric, NaN where it has none."""
        moments = self._gathered()
        found = self._collapse(moments).values if moments.num_samples else {}
        values = ((name, found.get(name)) for name in self._names)
        return {n: torch.tensor(math.nan if v is None else v, dtype=torch.float64) for n, v in values}

    def collapse(self) -> Collapse:
        """Everything that was measured, by all processes together."""
        with self.sync_context():
            return self._collapse(self._gathered())

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Take in the samples of another metric."""
        super().merge_state(incoming_state)
        self._computed = None  # torchmetrics would go on giving the value from before

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the values by name, or those of several steps as a curve each. Figure and axes come back.

        Parameters
        ----------
        val : dict or sequence of dict, optional
            What :meth:`compute` gave, once or several times. Default: what it gives now.
        ax : matplotlib Axes, optional
            What to draw into.
        """
        found = self.compute() if val is None else val
        plotting = importlib.import_module("encollapse.report.plotting")  # a room above this one
        return plotting.plot_metrics([found] if isinstance(found, dict) else list(found), ax)

    def _collapse(self, moments: ClassMoments) -> Collapse:
        return moments.collapse(*self._head.parameters(), self._encoding, self._convention)

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = ()) -> nn.Module:
        """Follow to another device, but stay float64."""
        super()._apply(fn, (*exclude_state, "moments"))
        default: Any = self._defaults["moments"]
        place = fn(torch.empty(0, device=default.device)).device
        if place != default.device:
            self.moments, self._defaults["moments"] = self.moments.to(place), default.to(place)
        return self
