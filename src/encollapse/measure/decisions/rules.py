"""Decisions between linear scores, each made again where float32 cannot tell."""

from __future__ import annotations

import numpy as np
import torch

from encollapse._internal.typing import IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.structured import AffineOneHot
from encollapse.measure.moments.torch_algebra import exact_products
from encollapse.metrics.statistics import ClassStatistics

_CHUNK_ENTRIES = 2**22  # of a block of differences: 32 MB
_LARGEST_SCORE = 1e37
"""Scores of float32 from which on sums of a few of them may overflow."""


class LinearScores:
    """Scores ``x aₖ + bₖ`` of features x, and for each score how far rounding may have moved it.

    float32 features are scored in float32. A decision between scores that rounding could have swapped has
    to be made again from float64.
    """

    def __init__(self, rows: torch.Tensor, offsets: torch.Tensor) -> None:
        self._rows, self._offsets = rows, offsets
        self.single = (rows.float(), offsets.float())
        self._reach = float(torch.linalg.norm(rows, dim=1).max())
        self._shift = float(offsets.abs().max())

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) of features (n, d)."""
        rows, offsets = self.single if features.dtype == torch.float32 else (self._rows, self._offsets)
        with exact_products(features.device):
            return torch.addmm(offsets, features, rows.T)

    def errors(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return how far rounding may have moved the scores (n,) of features of lengths (n,)."""
        eps = torch.finfo(features.dtype).eps
        growth = 4 + (4 * features.shape[1] if eps < 1e-15 else 16 * features.shape[1] ** 0.5)
        # Products that leave the normal numbers lose up to the least of them, however small they are.
        lost = torch.finfo(features.dtype).tiny * features.shape[1]
        return eps * (growth * (lengths * self._reach) + 2 * self._shift) + lost

    def in_range(self, length: float) -> bool:
        """Whether float32 holds the scores of features of that length or less."""
        return length * self._reach + self._shift < _LARGEST_SCORE and self._reach < _LARGEST_SCORE


class NearestMean:
    """The rule "nearest class mean", over the classes that have samples. Ties go to the lowest class.

    Distances are compared through ``<x, c> - |c|²/2`` about the global mean. Where that leaves two classes
    within rounding of each other, their distances are computed again from the differences themselves.
    """

    def __init__(self, statistics: ClassStatistics, device: torch.device) -> None:
        centered = statistics.centered("sample")

        def move(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> torch.Tensor:
            return torch.tensor(values, device=device)

        # Of equal means the first one wins every tie: without the others there is nothing to settle.
        _, first = np.unique(statistics.means[centered.classes], axis=0, return_index=True)
        kept = np.sort(first)
        self._classes = centered.classes[kept]
        self._means = move(statistics.means[self._classes])
        self._center = move(centered.global_mean)
        deviations = move(centered.deviations[kept])
        half_squares = 0.5 * deviations.square().sum(dim=1)
        self._about_center = LinearScores(deviations, -half_squares)
        self.scores = LinearScores(deviations, -half_squares - deviations @ self._center)

    def decide(self, features: torch.Tensor, lengths: torch.Tensor, scores: torch.Tensor) -> IntArray:
        """Classes (n,) of float32 features (n, d) of lengths (n,) and of these scores, which are overwritten."""
        chosen, unsure, close = _best(scores, self.scores.errors(features, lengths))
        if len(unsure):  # float32 could not tell; float64 about the center leaves few in doubt
            chosen[unsure], among, close = self._about_the_center(features[unsure].double())
            unsure = unsure[among]
        return self._settled(features, chosen, unsure, close)

    def decide_exactly(self, features: torch.Tensor) -> IntArray:
        """Classes (n,) of float64 features (n, d)."""
        return self._settled(features, *self._about_the_center(features))

    def _settled(
        self, features: torch.Tensor, chosen: torch.Tensor, unsure: torch.Tensor, close: torch.Tensor
    ) -> IntArray:
        if len(unsure):
            chosen[unsure] = self._settle(features[unsure].double(), close)
        return np.asarray(self._classes[chosen.cpu().numpy()])

    def _about_the_center(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        moved = features - self._center
        errors = self._about_center.errors(moved, torch.linalg.vector_norm(moved, dim=1))
        return _best(self._about_center(moved), errors)

    def _settle(self, features: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        distances = torch.full(candidates.shape, torch.inf, dtype=torch.float64, device=features.device)
        step = max(1, _CHUNK_ENTRIES // features.shape[1])
        for pairs in torch.split(candidates.nonzero(), step):
            row, mean = pairs.T
            distances[row, mean] = (features[row] - self._means[mean]).square().sum(dim=1)
        return distances.argmin(dim=1)


class LargestOutput:
    """The rule "largest output" of a linear classifier. Ties go to the lowest class."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.scores = LinearScores(weight, bias)

    def decide(self, features: torch.Tensor, lengths: torch.Tensor, scores: torch.Tensor) -> IntArray:
        """Classes (n,) of float32 features (n, d) of lengths (n,) and of these scores, which are overwritten."""
        chosen, unsure, _ = _best(scores, self.scores.errors(features, lengths))
        if len(unsure):
            chosen[unsure] = self.scores(features[unsure].double()).argmax(dim=1)
        return np.asarray(chosen.cpu().numpy())

    def decide_exactly(self, features: torch.Tensor) -> IntArray:
        """Classes (n,) of float64 features (n, d)."""
        return np.asarray(self.scores(features).argmax(dim=1).cpu().numpy())


def decodes_by_largest_output(encoding: Encoding, loss: str) -> bool:
    """Whether the codeword nearest to an output is that of its largest entry, as it is for ``a I + b 11ᵀ``, a > 0."""
    if not isinstance(encoding, AffineOneHot) or encoding.scale <= 0:
        return False
    # Cross-entropy decides between distributions only, and decoding refuses others.
    total = encoding.scale + encoding.num_classes * encoding.offset
    return loss == "mse" or (encoding.offset >= 0 and abs(total - 1.0) <= 1e-9)


class NearestCodeword:
    """The rule "what the encoding decodes the output to" of a linear classifier, under a loss."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, encoding: Encoding, loss: str) -> None:
        self._outputs, self._encoding, self._loss = LinearScores(weight, bias), encoding, loss

    def decide_exactly(self, features: torch.Tensor) -> IntArray:
        """Classes (n,) of float64 features (n, d)."""
        return self._encoding.decode(self._outputs(features).cpu().numpy(), loss=self._loss)


def _best(scores: torch.Tensor, errors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Place of the largest score (n,), the rows (m,) in which that is in doubt, and their candidates (m, K).

    The scores are overwritten.
    """
    best, chosen = scores.max(dim=1)
    own, least = chosen[:, None], best - 2 * errors
    scores.scatter_(1, own, -torch.inf)
    unsure = (scores.amax(dim=1) >= least).nonzero().flatten()
    close = scores[unsure] >= least[unsure, None]
    return chosen, unsure, close.scatter_(1, own[unsure], True)
