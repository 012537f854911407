"""`held_out`: how samples that a network was not trained on stand to the class means of those that it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError, Undefined
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.forward.feature_store import DEFAULT_BUDGET, FeatureStore
from encollapse.measure.forward.running import placed, undisturbed
from encollapse.measure.from_features import collapse
from encollapse.measure.model import BatchReader
from encollapse.measure.moments.inputs import FeatureRows, RowSource, labeled_rows
from encollapse.measure.result import Collapse
from encollapse.measure.second_pass import finish
from encollapse.metrics import METRICS, ClassStatistics, Convention, as_convention
from encollapse.metrics.samples.nc1_samples import directional_cdnv_of_blocks

_SHOWN = ("nc1_pinv", "nc1_trace_ratio", "cdnv", "vci", "nc4_agreement", "ncc_accuracy", "accuracy")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Training set and held-out samples, both measured about the class means of the training set.

    Parameters
    ----------
    train, test : Collapse
        The training set, and the held-out samples: their spread about the training means, and whether classifier and
        nearest training mean agree on them. NC2 and NC3 of `test` are about the training means too.
    directional_cdnv : tuple of two floats or None
        Of both, to the training means. See :func:`encollapse.metrics.directional_cdnv`.
    shift_share : float or None
        Which part of the held-out spread about the training means is there because the class means of the held-out
        samples are elsewhere, 0 to 1, or None where there is no spread.
    missing : dict
        Reason, by name, for a value that is None.
    classifier : str
        The layer of the network that is the classifier, where there is a network.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> labels = np.arange(20) % 5
    >>> features = np.eye(5, 7)[labels]
    >>> found = ec.measure.held_out((features, labels), (features + 0.1, labels))
    >>> round(found.train.nc1_trace_ratio, 9), round(found.test.nc1_trace_ratio, 9), round(found.shift_share, 9)
    (0.0, 0.0875, 1.0)
    """

    train: Collapse
    test: Collapse
    directional_cdnv: tuple[float | None, float | None]
    shift_share: float | None
    missing: dict[str, str] = field(default_factory=dict)
    classifier: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "train": self.train.to_dict() | {"directional_cdnv": self.directional_cdnv[0]},
            "test": self.test.to_dict() | {"directional_cdnv": self.directional_cdnv[1]},
            "shift_share": self.shift_share,
            "missing": dict(self.missing),
        }

    def __str__(self) -> str:
        rows = [(name, self.train.values[name], self.test.values[name], METRICS[name].meaning) for name in _SHOWN]
        rows.insert(3, ("directional_cdnv", *self.directional_cdnv, "cdnv along the line between two means"))
        lines = [
            f"{self.train.num_samples} samples and {self.test.num_samples} held out, about the means of the first",
            *([f"classifier: {self.classifier}"] if self.classifier else []),
            f"{'':<16}  {'train':>12}  {'held out':>12}",
        ]
        for name, *values, meaning in rows:
            shown = ("-" if value is None else f"{value:.6g}" for value in values)
            lines.append(f"{name:<16}  {'  '.join(f'{text:>12}' for text in shown)}  {meaning}")
        share = "-" if self.shift_share is None else f"{self.shift_share:.6g}"
        return "\n".join([*lines, f"{'shift_share':<16}  {'':>12}  {share:>12}  of the spread: class means elsewhere"])


def held_out(
    train: Any,
    test: Any,
    *,
    network: nn.Module | None = None,
    head: str | nn.Module | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    encoding: Encoding | None = None,
    loss: str = "mse",
    num_classes: int | None = None,
    convention: str | Convention = "default",
    ignore_index: int | None = None,
    label_key: str | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    memory_budget: int = DEFAULT_BUDGET,
) -> HeldOut:
    """Measure a training set, and samples that were held out, about the class means of the training set.

    Parameters
    ----------
    train, test : (features, labels), or loaders
        Features (N, d) with labels (N,) of both, or with `network` loaders of both, as for
        :func:`encollapse.measure.measure_model`.
    network : torch.nn.Module, optional
        Runs over both loaders, in evaluation mode, and is left as it was.
    head, label_key, device, progress
        As for :func:`encollapse.measure.measure_model`, where there is a network.
    weight, bias
        Of the classifier, where there is no network.
    encoding, loss, num_classes, convention, ignore_index
        As for :func:`encollapse.measure.collapse`.
    memory_budget : int
        Bytes of features of a network to keep in memory. The rest is in temporary files.

    Returns
    -------
    HeldOut
        Both measurements, directional CDNV of both, and how much of the held-out spread is a shift of class means.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for these two, or if a held-out class has no training samples.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    >>> train, test = ([(torch.randn(20, 3), torch.arange(20) % 5)] for _ in range(2))
    >>> found = ec.measure.held_out(train, test, network=network)
    >>> found.test.num_samples, found.test.nc1_trace_ratio > found.train.nc1_trace_ratio
    (20, True)
    """
    if network is not None:
        if weight is not None or bias is not None:
            raise ArgumentError("weight: is read from the network; leave weight and bias out, or the network")
        checks.instance(network, "network", nn.Module, what="a torch.nn.Module")
        budget = checks.integer(memory_budget, "memory_budget", minimum=0) // 2
        chosen = as_convention(convention)
        with (
            placed(network, device) as place,
            undisturbed(network, place, train),
            undisturbed(network, place, test),
            FeatureStore(budget) as store,
            FeatureStore(budget) as other,
        ):
            reader = BatchReader(network, head, place, ignore_index, None)
            first = reader.gather(train, store, label_key, num_classes, encoding, progress=progress)
            second = reader.gather(test, other, label_key, num_classes, encoding, progress=progress)
            if first is None or second is None:
                name = "train" if first is None else "test"
                raise ArgumentError(f"{name}: yielded no samples; a loader must not be empty")
            size, dim = first.moments.num_classes, first.moments.feature_dim
            last = LinearClassifier.of(first.weight, first.bias, encoding, size, dim, loss)
            seen = finish(store, first.labels, first.moments, last, chosen, first.provenance)
            own = second.moments.statistics()
            unseen = finish(other, second.labels, second.moments, last, chosen, about=seen.statistics)
            return _together(seen, unseen, own, (store, first.labels), (other, second.labels))
    for name, pair in (("train", train), ("test", test)):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ArgumentTypeError(
                f"{name}: expected a pair (features, labels), got {type(pair).__name__}; for loaders give network="
            )
    options: dict[str, Any] = {"weight": weight, "bias": bias, "encoding": encoding, "loss": loss}
    options |= {"convention": convention, "ignore_index": ignore_index}
    seen = collapse(*train, num_classes=num_classes, **options)
    unseen = collapse(*test, about=seen, **options)
    own = collapse(*test, num_classes=seen.num_classes, ignore_index=ignore_index, covariance=False).statistics
    parts = [labeled_rows(pair[0], pair[1], ignore_index) for pair in (train, test)]
    rows = [(FeatureRows(values), checks.class_labels(labels, 2**62)) for values, labels in parts]
    return _together(seen, unseen, own, rows[0], rows[1])


def _together(
    seen: Collapse,
    unseen: Collapse,
    own: ClassStatistics,
    train: tuple[RowSource, IntArray],
    test: tuple[RowSource, IntArray],
) -> HeldOut:
    """Both measurements and what compares them; `own` is of the held-out samples about their own means."""
    means = seen.statistics.means
    missing: dict[str, str] = {}
    directional: list[float | None] = []
    for source, labels in (train, test):
        try:
            directional.append(directional_cdnv_of_blocks(_float64_blocks(source, labels), labels, means))
        except Undefined as reason:
            directional.append(None)
            missing["directional_cdnv"] = str(reason)
    spread = unseen.statistics
    total = float(spread.counts @ np.nan_to_num(spread.within_trace))
    rest = float(own.counts @ np.nan_to_num(own.within_trace))
    share = None if total == 0.0 else max(0.0, 1.0 - rest / total)
    if share is None:
        missing["shift_share"] = "the held-out samples are at the training means"
    classifier = str(seen.geometry.provenance.get("classifier", ""))
    return HeldOut(seen, unseen, (directional[0], directional[1]), share, missing, classifier)


def _float64_blocks(source: RowSource, labels: IntArray) -> Iterator[tuple[FloatArray, IntArray]]:
    start = 0
    for block in source.blocks(torch.device("cpu")):
        yield block.double().numpy(), labels[start : start + len(block)]
        start += len(block)
