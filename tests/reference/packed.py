"""Matrices as the explorer's page reads them."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray


def unpacked(value: dict[str, Any]) -> NDArray[np.float64]:
    """The matrix that :func:`encollapse.explorer.views.solution.packed` has packed."""
    raw = np.frombuffer(base64.b64decode(value["data"]), dtype="<f8")
    return raw.reshape(value["shape"]).astype(np.float64)
