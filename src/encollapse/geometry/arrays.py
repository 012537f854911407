"""A class geometry as named arrays, for files that hold several of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from encollapse.geometry.class_geometry import ClassGeometry

_FIELDS = ("feature_gram", "counts", "classifier_gram", "class_outputs", "bias", "within")

Arrays = dict[str, np.ndarray[Any, Any]]


def to_arrays(geometry: ClassGeometry, prefix: str) -> Arrays:
    """Fields of a geometry under the names ``prefix.field``. What is None is left out."""
    values = {name: getattr(geometry, name) for name in _FIELDS}
    return {f"{prefix}.{name}": np.asarray(value) for name, value in values.items() if value is not None}


def from_arrays(arrays: Arrays, prefix: str, provenance: Mapping[str, Any] | None = None) -> ClassGeometry:
    """Inverse of :func:`to_arrays`. Without a `provenance`, `prefix` becomes the source in it."""
    fields: dict[str, Any] = {name: arrays.get(f"{prefix}.{name}") for name in _FIELDS}
    return ClassGeometry(**fields, provenance=provenance or {"source": prefix})
