"""Classes on a circle."""

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray
from encollapse.encodings.encoding import Encoding


def circular(num_classes: int, *, classes: Sequence[str] | None = None) -> Encoding:
    """Points on the unit circle in cyclic order, for classes such as hours or directions; ``code_dim = 2``.

    Class k lies at the angle ``2πk/K``; the inner product of two codewords is the cosine of the arc between
    them :cite:p:`mardia2000`, so the last class is as near to the first as any two neighbors. The mean
    codeword is zero.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    classes : sequence of str, optional
        Names of the classes, in cyclic order.
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    return Encoding(circle(k), name="circular", classes=classes)


def circle(num_points: int) -> FloatArray:
    """Equally spaced points of the unit circle as columns, (2, num_points), the first at ``(1, 0)``."""
    angles = 2 * np.pi * np.arange(num_points) / num_points
    return np.stack([np.cos(angles), np.sin(angles)])
