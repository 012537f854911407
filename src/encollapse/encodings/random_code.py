"""Random codewords."""

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse.encodings.encoding import Encoding


def random(num_classes: int, code_dim: int, seed: int = 0, *, classes: Sequence[str] | None = None) -> Encoding:
    """Independent Gaussian codewords scaled to unit length; nearly orthogonal when `code_dim` is large.

    The same arguments give the same codewords on every platform (NumPy's PCG64 generator).
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    q = checks.integer(code_dim, "code_dim", minimum=1)
    generator = np.random.default_rng(checks.integer(seed, "seed", minimum=0))
    codewords = generator.standard_normal((q, k))
    codewords /= np.linalg.norm(codewords, axis=0)
    return Encoding(codewords, name="random", classes=classes)
