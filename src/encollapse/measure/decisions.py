"""NC4: what the classifier decides, and what the nearest class mean would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from encollapse._typing import IntArray
from encollapse.geometry.statistics import ClassStatistics
from encollapse.measure import distributed
from encollapse.measure.classifier import Classifier
from encollapse.measure.precision import exact_products

_CHUNK_ENTRIES = 2**22
_CACHED_ENTRIES = 2**21

_BY_CLASSIFIER = ("nc4_agreement", "accuracy")

Rule = Callable[[torch.Tensor, torch.Tensor], IntArray]
"""Classes (n,) that a classifier decides for features (n, d) of lengths (n,)."""


class LinearScores:
    """Scores ``x aₖ + bₖ`` of features x, and for each score how far rounding may have moved it.

    float32 features are scored in float32; a decision between scores that rounding could have swapped has
    to be made again from float64.
    """

    def __init__(self, rows: torch.Tensor, offsets: torch.Tensor) -> None:
        self._rows, self._offsets = rows, offsets
        self._single = (rows.float(), offsets.float())
        self._reach = float(torch.linalg.norm(rows, dim=1).max())
        self._shift = float(offsets.abs().max())

    def __call__(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (n, K) of features (n, d) of lengths (n,), and their errors (n,)."""
        rows, offsets = self._single if features.dtype == torch.float32 else (self._rows, self._offsets)
        with exact_products(features.device):
            scores = torch.addmm(offsets, features, rows.T)
        eps = torch.finfo(features.dtype).eps
        growth = 4 + (4 * features.shape[1] if eps < 1e-15 else 16 * features.shape[1] ** 0.5)
        reach = lengths * self._reach
        return scores, eps * (growth * reach + 2 * self._shift)


class NearestMean:
    """The rule "nearest class mean", over the classes that have samples; ties go to the lowest class.

    Distances are compared through ``<x, c> - |c|²/2`` about the global mean. Where that leaves two classes
    within rounding of each other, their distances are computed again from the differences themselves.
    """

    def __init__(self, statistics: ClassStatistics, device: torch.device) -> None:
        centred = statistics.centered("sample")

        def move(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> torch.Tensor:
            return torch.tensor(values, device=device)

        # Of equal means the first one wins every tie: without the others there is nothing to settle.
        _, first = np.unique(statistics.means[centred.classes], axis=0, return_index=True)
        kept = np.sort(first)
        self._classes = centred.classes[kept]
        self._means = move(statistics.means[self._classes])
        self._centre = move(centred.global_mean)
        deviations = move(centred.deviations[kept])
        half_squares = 0.5 * deviations.square().sum(dim=1)
        self._about_centre = LinearScores(deviations, -half_squares)
        self._about_origin = LinearScores(deviations, -half_squares - deviations @ self._centre)

    def __call__(self, features: torch.Tensor, lengths: torch.Tensor) -> IntArray:
        """Classes (n,) of features (n, d) of lengths (n,)."""
        rows = max(1, _CHUNK_ENTRIES // len(self._means))
        pieces = zip(torch.split(features, rows), torch.split(lengths, rows), strict=True)
        chosen = [self._choose(chunk, own) for chunk, own in pieces]
        return np.asarray(self._classes[torch.cat(chosen).cpu().numpy()])

    def _choose(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if features.dtype == torch.float64:
            chosen, unsure, close = self._about_the_centre(features)
        else:
            chosen, unsure, close = _best(*self._about_origin(features, lengths))
            if len(unsure):  # float32 could not tell; float64 about the centre leaves few in doubt
                chosen[unsure], among, close = self._about_the_centre(features[unsure].double())
                unsure = unsure[among]
        if len(unsure):
            chosen[unsure] = self._settle(features[unsure].double(), close)
        return chosen

    def _about_the_centre(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        moved = features - self._centre
        return _best(*self._about_centre(moved, torch.linalg.vector_norm(moved, dim=1)))

    def _settle(self, features: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        distances = torch.full(candidates.shape, torch.inf, dtype=torch.float64, device=features.device)
        step = max(1, _CHUNK_ENTRIES // features.shape[1])
        for pairs in torch.split(candidates.nonzero(), step):
            row, mean = pairs.T
            distances[row, mean] = (features[row] - self._means[mean]).square().sum(dim=1)
        return distances.argmin(dim=1)


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


def classifier_rule(classifier: Classifier, num_classes: int, device: torch.device) -> Rule | str:
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
    # The rule of one-hot codewords is the largest output, whatever else an encoding decodes by.
    if encoding is None or encoding.name == "one-hot":
        return _largest_output(weight, bias)

    def decide(features: torch.Tensor, _: torch.Tensor) -> IntArray:
        outputs = (features.double() @ weight.T + bias).cpu().numpy()
        return encoding.decode(outputs, loss=classifier.loss)

    return decide


def _largest_output(weight: torch.Tensor, bias: torch.Tensor) -> Rule:
    scores = LinearScores(weight, bias)

    def decide(features: torch.Tensor, lengths: torch.Tensor) -> IntArray:
        if features.dtype == torch.float64:
            return scores(features, lengths)[0].argmax(dim=1).cpu().numpy()
        chosen, unsure, _ = _best(*scores(features, lengths))
        if len(unsure):
            chosen[unsure] = scores(features[unsure].double(), lengths[unsure].double())[0].argmax(dim=1)
        return chosen.cpu().numpy()

    return decide


@dataclass(frozen=True)
class Decisions:
    """Shares of samples, from 0 to 1, by name, and the reasons for those that have no value."""

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def no_decisions(reason: str) -> Decisions:
    """All three shares missing, for one reason."""
    return Decisions(missing=dict.fromkeys(("ncc_accuracy", *_BY_CLASSIFIER), reason))


class Tally:
    """Counts decisions batch by batch."""

    def __init__(self, nearest_mean: NearestMean, rule: Rule | str) -> None:
        self._nearest_mean, self._rule = nearest_mean, rule
        self._samples = self._near = self._right = self._agree = 0

    def add(self, features: torch.Tensor, labels: IntArray) -> None:
        """Count a batch: features (n, d) float32 or float64, labels (n,)."""
        start = 0
        step = (
            max(1, _CACHED_ENTRIES // features.shape[1]) if features.device.type == "cpu" else len(features)
        )
        for rows in torch.split(features, max(step, 1)):
            self._add(rows, labels[start : start + len(rows)])
            start += len(rows)

    def _add(self, features: torch.Tensor, labels: IntArray) -> None:
        lengths = torch.linalg.vector_norm(features, dim=1)
        by_mean = self._nearest_mean(features, lengths)
        self._samples += len(labels)
        self._near += int((by_mean == labels).sum())
        if not isinstance(self._rule, str):
            decided = self._rule(features, lengths)
            self._right += int((decided == labels).sum())
            self._agree += int((decided == by_mean).sum())

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
        """Return the shares of all samples counted."""
        values = {"ncc_accuracy": self._near / self._samples}
        if isinstance(self._rule, str):
            return Decisions(values, dict.fromkeys(_BY_CLASSIFIER, self._rule))
        shares = (self._agree / self._samples, self._right / self._samples)
        return Decisions(values | dict(zip(_BY_CLASSIFIER, shares, strict=True)))
