"""`Frame`: the class geometry of a network at one moment of its training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """The network's class geometry after `epoch` passes, in the user's units.

    Attributes
    ----------
    epoch : int
        Passes over the data.
    class_means : (d, K) array
        Mean features of the classes, uncentered.
    weight : (q, d) array
        Weight of the head.
    bias : (q,) array
        Its bias; zeros without one.
    """

    epoch: int
    class_means: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
