"""A structured encoding moved by one vector, kept as the two of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.encodings.encoding import Encoding


class Shifted(Encoding):
    """The codewords of `base` with the vector `shift` (code_dim,) taken off each.

    What :meth:`Encoding.centered` makes of an encoding whose matrix may be too large to build: it encodes, decodes,
    averages and is saved without.
    """

    def __init__(self, base: Encoding, shift: Any, *, name: str) -> None:
        self._setup(base.num_classes, base.code_dim, name, base.classes if base._classes else None)
        self._base = base
        self._shift: FloatArray = checks.read_only(
            checks.array(shift, "shift", (base.code_dim,), axes="(code_dim,)").copy()
        )
        self._frozen = True

    @property
    def base(self) -> Encoding:
        """The encoding that was moved."""
        return self._base

    @property
    def shift(self) -> FloatArray:
        """What was taken off every codeword, (code_dim,)."""
        return self._shift

    def _build(self) -> FloatArray:
        return np.asarray(self._base.codewords - self._shift[:, None])

    def _combine(self, weights: FloatArray) -> FloatArray:
        moved: FloatArray = self._base.combine(weights) - self._shift * weights.sum()
        return moved

    def centered(self, priors: Any = None) -> Encoding:
        """Return the encoding with its mean codeword (under `priors`) taken off every codeword."""
        return Shifted(self._base, self._base.mean(priors), name=f"{self._name} (centered)")

    def _encode(self, labels: IntArray) -> FloatArray:
        return np.asarray(self._base.encode(labels) - self._shift)

    def _decode(self, outputs: FloatArray) -> IntArray:
        return self._base.decode(outputs + self._shift)
