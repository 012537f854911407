"""Ordered classes."""

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse.encodings.encoding import Encoding


def ordinal(num_classes: int, *, classes: Sequence[str] | None = None) -> Encoding:
    """Thermometer code for ordered classes: class k has k ones, then zeros; ``code_dim = K - 1``.

    Entry j answers "is the class above j?"; squared distances count the steps between classes
    :cite:p:`frank2001`.
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    steps = np.arange(k - 1)[:, None] < np.arange(k)[None, :]
    return Encoding(steps.astype(np.float64), name="ordinal", classes=classes)
