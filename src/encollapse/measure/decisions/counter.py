"""NC4: what the classifier decides, and what the nearest class mean would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from encollapse._internal.typing import IntArray
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.decisions.rules import LargestOutput, NearestCodeword, NearestMean, decodes_by_largest_output
from encollapse.measure.moments import distributed
from encollapse.measure.moments.threads import even_shares, side_by_side
from encollapse.measure.moments.torch_algebra import exact_products
from encollapse.metrics import Decisions

_CHUNK_ENTRIES = 2**22  # of a block of scores: 16 MB in float32
_TILE_ENTRIES = 2**20  # of the features beside it: 4 MB, which a cache holds
_FEW = 64
"""Rows of a product that is quicker the other way round."""


def classifier_rule(
    classifier: LinearClassifier, num_classes: int, device: torch.device
) -> LargestOutput | NearestCodeword | str:
    """Return the rule of the classifier, or the reason why it has none.

    With an encoding: what it decodes ``W h + b`` to under the loss. Without: the largest entry of ``W h + b``,
    which needs one output a class.
    """
    if classifier.weight is None or classifier.bias is None:
        return "no weight was given"
    encoding = classifier.encoding
    if encoding is None and len(classifier.weight) != num_classes:
        return f"the classifier has {len(classifier.weight)} outputs for {num_classes} classes; give the encoding"
    weight = torch.tensor(classifier.weight, device=device)
    bias = torch.tensor(classifier.bias, device=device)
    if encoding is None or decodes_by_largest_output(encoding, classifier.loss):
        return LargestOutput(weight, bias)
    return NearestCodeword(weight, bias, encoding, classifier.loss)


class DecisionCounter:
    """Counts decisions batch by batch."""

    def __init__(self, nearest_mean: NearestMean, rule: LargestOutput | NearestCodeword | str) -> None:
        self._nearest_mean, self._rule = nearest_mean, rule
        self._samples = self._near = self._right = self._agree = 0
        self._sides = [nearest_mean.scores, *([rule.scores] if isinstance(rule, LargestOutput) else [])]
        sides = [scores.single for scores in self._sides]
        # One product for both rules, so that the features are read once.
        self._rows, self._offsets = (torch.cat(parts) for parts in zip(*sides, strict=True))
        self._means = len(sides[0][0])

    def add(self, features: torch.Tensor, labels: IntArray) -> None:
        """Count a batch: features (n, d) float32 or float64, labels (n,)."""
        number, step = 1, max(1, _CHUNK_ENTRIES // len(self._rows))
        if features.device.type == "cpu":
            step = max(1, min(step, _TILE_ENTRIES // features.shape[1]))
            number = max(1, min(torch.get_num_threads(), len(features) // step))

        def count(start: int, stop: int) -> list[tuple[int, ...]]:
            tiles = (slice(first, min(first + step, stop)) for first in range(start, stop, step))
            return [self._tile(features[tile], labels[tile]) for tile in tiles]

        with exact_products(features.device):
            for share in side_by_side(count, even_shares(len(features), number)):
                for counts in share:
                    self.add_counts(counts)

    def _tile(self, features: torch.Tensor, labels: IntArray) -> tuple[int, ...]:
        rule, single = self._rule, features.dtype == torch.float32
        lengths = torch.linalg.vector_norm(features, dim=1)
        if single:
            longest = float(lengths.max())  # infinite where squares leave float32
            single = all(scores.in_range(longest) for scores in self._sides)
            features = features if single else features.double()
        if single:
            scores = self._scores(features)
            by_mean = self._nearest_mean.decide(features, lengths, scores[:, : self._means])
        else:
            by_mean = self._nearest_mean.decide_exactly(features)
        near = int((by_mean == labels).sum())
        if isinstance(rule, str):
            return len(labels), near, 0, 0
        if single and isinstance(rule, LargestOutput):
            decided = rule.decide(features, lengths, scores[:, self._means :])
        else:
            decided = rule.decide_exactly(features.double())
        return len(labels), near, int((decided == labels).sum()), int((decided == by_mean).sum())

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        if len(self._rows) > _FEW:
            return torch.addmm(self._offsets, features, self._rows.T)
        return torch.addmm(self._offsets[:, None], self._rows, features.T).T

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Samples, and how many of them: nearest mean is right, classifier is right, both agree."""
        return self._samples, self._near, self._right, self._agree

    def add_counts(self, counts: Sequence[int]) -> None:
        """Take in the counts of another tally of the same rules."""
        samples, near, right, agree = counts
        self._samples += samples
        self._near += near
        self._right += right
        self._agree += agree

    def all_reduce(self, group: Any = None) -> None:
        """Add up the counts of all processes of a torch.distributed group."""
        carrier = torch.tensor(self.counts, device=distributed.carrier_device(group))
        self._samples = self._near = self._right = self._agree = 0
        self.add_counts(distributed.total(carrier, group).tolist())

    def decisions(self) -> Decisions:
        """Return what was counted, or why there is nothing for the classifier."""
        if isinstance(self._rule, str):
            return Decisions(self._samples, self._near, reason=self._rule)
        return Decisions(self._samples, self._near, self._right, self._agree)
