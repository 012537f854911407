"""A linear layer that is looked at, not owned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from encollapse.errors import ArgumentTypeError
from encollapse.measure.forward.running import acting_parameters


class SharedHead:
    """The layer whose weight and bias a metric reads; a deep copy refers to the same layer.

    Held this way, a network's layer becomes no submodule of the metric, and clones of the metric keep
    looking at the layer that is being trained.
    """

    def __init__(self, layer: nn.Linear | None) -> None:
        if layer is not None and not isinstance(layer, nn.Linear):
            raise ArgumentTypeError(f"head: expected a torch.nn.Linear, got {type(layer).__name__}")
        self._layer = layer

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedHead:
        return self

    def parameters(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Weight and bias as they are now; None for what there is not."""
        return (None, None) if self._layer is None else acting_parameters(self._layer)
