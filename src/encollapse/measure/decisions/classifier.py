"""The linear classifier on top of the features, as it was handed in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.encodings import Encoding
from encollapse.encodings.registry import resolved
from encollapse.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """A linear classifier with the encoding of its targets. Each part may be unknown.

    `weight` (q, d) and `bias` (q,) are both given or both None. `loss` is what decides between codewords.
    """

    weight: FloatArray | None
    bias: FloatArray | None
    encoding: Encoding | None
    loss: str = "mse"

    @staticmethod
    def of(
        weight: ArrayLike | None,
        bias: ArrayLike | None,
        encoding: Encoding | str | None,
        num_classes: int,
        feature_dim: int,
        loss: str = "mse",
    ) -> LinearClassifier:
        """Check the parts against each other and against the features. An encoding by name is made here."""
        known: Encoding | None = resolved(encoding, num_classes)
        require_encoding(known, num_classes)
        checks.choice(loss, "loss", ("mse", "cross_entropy"))
        if weight is None:
            if bias is not None:
                raise ArgumentError("bias: was given without weight; give the weight (q, d) too, or neither")
            return LinearClassifier(None, None, known, loss)
        matrix = checks.array(weight, "weight", (None, None), axes="(code_dim, feature_dim)")
        if matrix.shape[1] != feature_dim:
            hint = "; it looks transposed" if matrix.shape[0] == feature_dim else ""
            raise ArgumentError(
                f"weight: expected shape (code_dim, {feature_dim}), one column a feature, got {matrix.shape}{hint}"
            )
        if known is not None and len(matrix) != known.code_dim:
            raise ArgumentError(
                f"weight: expected {known.code_dim} rows, the code_dim of the encoding, got {len(matrix)}"
            )
        offset = (
            np.zeros(len(matrix)) if bias is None else checks.array(bias, "bias", (len(matrix),), axes="(code_dim,)")
        )
        return LinearClassifier(matrix, offset, known, loss)


def known_classes(num_classes: int | None, encoding: Encoding | str | None) -> int | None:
    """Number of classes as it is given, or that of the encoding, or None where neither tells."""
    if num_classes is not None:
        return checks.integer(num_classes, "num_classes", minimum=1)
    return encoding.num_classes if isinstance(encoding, Encoding) else None


def require_encoding(encoding: Encoding | str | None, num_classes: int | None = None) -> None:
    """Raise unless `encoding` is None, a name, or an encoding of `num_classes` classes."""
    if encoding is None or isinstance(encoding, str):
        return
    cure = "wrap codewords (q, K) with encodings.Encoding(...)"
    checks.instance(encoding, "encoding", Encoding, what="an Encoding or a name", why=cure)
    if num_classes is not None and encoding.num_classes != num_classes:
        raise ArgumentError(
            f"encoding: has {encoding.num_classes} classes, the measurement has {num_classes}; they must agree"
        )
