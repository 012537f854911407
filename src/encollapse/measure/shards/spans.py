"""Pieces of work: runs of rows in shards, what is done with them, and how they are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.decisions.counter import DecisionCounter, classifier_rule
from encollapse.measure.decisions.rules import NearestMean
from encollapse.measure.moments.inputs import FeatureRows, rows_per_block
from encollapse.measure.moments.projection import Projection
from encollapse.measure.packing import MomentShape, pack
from encollapse.measure.second_pass import covariance_about_means
from encollapse.measure.shards.layout import Shard
from encollapse.metrics.statistics import Averaging, ClassStatistics

_ENTRIES = 2**26
"""Entries of features in a piece of work: 256 MiB in float32."""

_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Span:
    """Rows `start` to `stop` of a shard."""

    shard: Shard
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Rules:
    """What decides for a class: the nearest of the means in `statistics`, and a classifier."""

    statistics: ClassStatistics
    classifier: LinearClassifier

    def tally(self) -> DecisionCounter:
        """A count that starts at nothing."""
        size = self.statistics.num_classes
        return DecisionCounter(NearestMean(self.statistics, _CPU), classifier_rule(self.classifier, size, _CPU))


class SpanRows:
    """Rows of several spans as one source of features, with their labels."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self.num_rows = sum(span.stop - span.start for span in spans)
        parts = [span.shard.labels.read(span.start, span.stop) for span in spans]
        self.labels: IntArray = np.concatenate(parts) if parts else np.empty(0, np.int64)

    def blocks(self, device: torch.device) -> Iterator[torch.Tensor]:
        """Blocks of float32 or float64, in the order of the samples."""
        for _, block in self.raw():
            yield from FeatureRows(block).blocks(device)

    def raw(self) -> Iterator[tuple[str, ArrayLike]]:
        """Blocks in the dtype of the files, each with where it is from."""
        for span in self._spans:
            step = rows_per_block(span.shard.feature_dim)
            first = span.start
            for block in span.shard.open().blocks(span.start, span.stop, step):
                yield f"{span.shard.path} from row {first} on", block
                first += len(block)
            span.shard.require_unchanged()
            if first != span.stop:
                raise FileFormatError(f"{span.shard.path}: has {first} rows, where its header says {span.stop} or more")


def cut(shards: Sequence[Shard], num_classes: int) -> list[tuple[Span, ...]]:
    """Pieces of work of similar size, in order.

    Each has enough rows that merging its moments, of size K d + d², costs little beside reading it. A file
    is taken apart where reading may start anywhere.
    """
    feature_dim = shards[0].feature_dim
    rows = max(_ENTRIES // feature_dim, 2 * (num_classes + feature_dim))
    pieces: list[tuple[Span, ...]] = []
    current: list[Span] = []
    held = 0
    for shard in shards:
        step = rows if shard.splittable else max(shard.num_rows, 1)
        for start in range(0, shard.num_rows, step):
            span = Span(shard, start, min(start + step, shard.num_rows))
            if current and held + span.stop - span.start > rows:
                pieces.append(tuple(current))
                current, held = [], 0
            current.append(span)
            held += span.stop - span.start
    if current:
        pieces.append(tuple(current))
    return pieces


def moments_of(spans: Sequence[Span], shape: MomentShape, rules: Rules | None) -> tuple[FloatArray, tuple[int, ...]]:
    """Packed moments of the spans and, with `rules`, the counts of decisions."""
    source, moments, start = SpanRows(spans), shape.blank(), 0
    tally = None if rules is None else rules.tally()
    for place, block in source.raw():
        labels = source.labels[start : start + len(block)]
        try:
            moments.update(block, labels)
        except (ArgumentError, ArgumentTypeError) as error:
            raise type(error)(f"{place}: {error}") from None
        start += len(block)
        if tally is not None:
            _count(tally, block, labels)
    return pack(moments).numpy(), () if tally is None else tally.counts


def decisions_of(
    spans: Sequence[Span], rules: Rules, averaging: Averaging | None
) -> tuple[tuple[int, ...], FloatArray]:
    """Counts of decisions over the spans and, with `averaging`, their share in the projected covariance."""
    source, tally, start = SpanRows(spans), rules.tally(), 0
    projection = None if averaging is None else Projection(rules.statistics, averaging, _CPU)
    for block in source.blocks(_CPU):
        labels = source.labels[start : start + len(block)]
        tally.add(block, labels)
        if projection is not None:
            projection.add(block, labels)
        start += len(block)
    return tally.counts, np.zeros(0) if projection is None else projection.total


def covariance_of(spans: Sequence[Span], statistics: ClassStatistics, averaging: Averaging, double: bool) -> FloatArray:
    """Share of the spans in the covariance about the final means."""
    source = SpanRows(spans)
    return covariance_about_means(source, source.labels, statistics, _CPU, averaging, double=double).numpy()


def _count(tally: DecisionCounter, block: ArrayLike, labels: IntArray) -> None:
    start = 0
    for rows in FeatureRows(block).blocks(_CPU):
        tally.add(rows, labels[start : start + len(rows)])
        start += len(rows)
