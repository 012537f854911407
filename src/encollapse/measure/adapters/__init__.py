"""Measurement where users already are: torchmetrics, Lightning, transformers. Each loads on first use."""

from __future__ import annotations

import importlib
from typing import Any

from encollapse.errors import MissingDependencyError

NAMES = {
    "NeuralCollapse": ("metric", "torchmetrics"),
    "CollapseCallback": ("lightning_callback", "lightning"),
    "CollapseTrainerCallback": ("trainer_callback", "transformers"),
}
"""Module and framework of every adapter."""


def load(name: str) -> Any:
    """Import an adapter.

    Raises
    ------
    MissingDependencyError
        If its framework is not installed.
    """
    module, framework = NAMES[name]
    try:
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"measure.{name} needs {framework} ({error}); install it with: pip install {framework}"
        ) from None
