"""NC1 without a covariance: residuals taken along the class means only, in the second pass.

``tr(Σ_W Σ_B⁺)`` asks for the spread in the range of ``Σ_B`` alone, the at most K - 1 directions between class
means. With an orthonormal basis Q of those, ``Q Σ_W Qᵀ`` is enough. What needs all of ``Σ_W`` stays missing.
"""

from __future__ import annotations

import numpy as np
import torch

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.measure.moments import distributed
from encollapse.measure.moments.symmetric_product import add_gram
from encollapse.measure.moments.torch_algebra import exact_products
from encollapse.metrics.linear_algebra import without_null_direction
from encollapse.metrics.statistics import Averaging, ClassStatistics, ProjectedWithin

BUDGET = 2**32
"""Bytes that a covariance, or else the basis between class means, may take with the work on it."""

LONG_PRODUCT = 2**38
"""Multiplications of a covariance that takes some seconds on two cores."""

_TILE_ENTRIES = 2**20  # 4 MB in float32, which a cache holds


def keeps_covariance(
    asked: bool | None, feature_dim: int, *, num_rows: int | None = None, num_classes: int = 0
) -> bool:
    """Whether to gather the covariance: as asked, otherwise where it is affordable, and not far dearer than NC1 alone.

    Affordable: its ``40 d²`` bytes are within the budget. Far dearer, for samples that can be read again and of which
    the number is known: a product of seconds, ``N d²``, four times what it takes along the class means.
    """
    if asked is not None:
        return checks.flag(asked, "covariance")
    if 40 * feature_dim**2 > BUDGET:
        return False
    if num_rows is None:
        return True
    rank = min(max(num_classes - 1, 1), feature_dim)
    whole, along = num_rows * feature_dim**2, num_rows * rank * (feature_dim + rank)
    return whole < LONG_PRODUCT or 4 * along > whole


class Projection:
    """Gathers ``Q Σ_W Qᵀ`` batch by batch, for the rows Q of an orthonormal basis between the class means.

    Parameters
    ----------
    statistics : ClassStatistics
        With the final means, of at least two classes that do not coincide.
    averaging : {"sample", "class"}
        How ``Σ_W`` averages over classes.
    device : torch.device
        Where the batches are.
    """

    def __init__(self, statistics: ClassStatistics, averaging: Averaging, device: torch.device) -> None:
        centered = statistics.centered("sample")
        lengths = np.sqrt(centered.weights)
        rows = without_null_direction(lengths[:, None] * (centered.deviations / centered.norms.max()), lengths)
        self.basis: FloatArray = np.linalg.qr(rows.T)[0].T
        self._averaging = averaging
        self._columns = torch.tensor(self.basis.T, device=device)
        self._means = torch.tensor(statistics.means, device=device)
        shares = np.zeros(statistics.num_classes)
        shares[statistics.present] = statistics.weights(averaging) / statistics.counts[statistics.present]
        self._scales = torch.tensor(np.sqrt(shares), device=device)
        size = len(self.basis)
        self._total = torch.zeros(size, size, dtype=torch.float64, device=device)

    @classmethod
    def worthwhile(cls, statistics: ClassStatistics, averaging: Averaging, device: torch.device) -> Projection | None:
        """Return a projection where it has something to project on and its basis is within the budget."""
        rank = min(statistics.num_present - 1, statistics.feature_dim)
        affordable = 40 * rank**2 + 32 * rank * statistics.feature_dim <= BUDGET
        if rank < 1 or not affordable or statistics.centered("sample").coincide:
            return None
        return cls(statistics, averaging, device)

    def add(self, block: torch.Tensor, labels: IntArray) -> None:
        """Take in a batch: features (n, d) float32 or float64, labels (n,)."""
        own, columns = torch.from_numpy(labels).to(block.device), self._columns.to(block.dtype)
        step = max(1, _TILE_ENTRIES // block.shape[1])
        along = block.new_empty(len(block), len(self.basis))
        with exact_products(block.device):
            for start in range(0, len(block), step):
                rows, classes = block[start : start + step], own[start : start + step]
                # Taken from the means in float64: means rounded to float32 would move every residual alike.
                residuals = (rows - self._means[classes]).mul_(self._scales[classes][:, None])
                along[start : start + step] = residuals.to(block.dtype) @ columns
            add_gram(self._total, along)

    def all_reduce(self) -> None:
        """Add up the shares of all processes of the default torch.distributed group."""
        self._total = distributed.total(self._total)

    @property
    def total(self) -> FloatArray:
        """What has been gathered, (r, r), on and above the diagonal."""
        return self._total.cpu().numpy()

    def within(self, total: FloatArray | None = None) -> ProjectedWithin:
        """Return the projected covariance, of the sum of several totals where one is given."""
        upper = np.triu(self.total if total is None else total)
        matrix = checks.read_only(upper + np.triu(upper, 1).T)
        return ProjectedWithin(self.basis, matrix, self._averaging)
