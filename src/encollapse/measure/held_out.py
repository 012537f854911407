"""`held_out`: how samples that a network was not trained on stand to the class means of those that it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from encollapse._internal.progress import tracked
from encollapse._internal.typing import ArrayLike
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError, Undefined
from encollapse.measure.forward.head import Head
from encollapse.measure.forward.running import placed, undisturbed
from encollapse.measure.from_features import collapse
from encollapse.measure.model import BatchReader, labeled_batches
from encollapse.measure.moments.inputs import labeled_rows
from encollapse.measure.result import Collapse
from encollapse.metrics import METRICS, Convention, directional_cdnv

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
) -> HeldOut:
    """Measure a training set, and samples that were held out, about the class means of the training set.

    Parameters
    ----------
    train, test : (features, labels), or loaders
        Features (N, d) with labels (N,) of both, or with `network` loaders of both, as for
        :func:`encollapse.measure.measure_model`. Features of a network are kept in memory.
    network : torch.nn.Module, optional
        Runs over both loaders, in evaluation mode, and is left as it was.
    head, label_key, device, progress
        As for :func:`encollapse.measure.measure_model`, where there is a network.
    weight, bias
        Of the classifier, where there is no network.
    encoding, loss, num_classes, convention, ignore_index
        As for :func:`encollapse.measure.collapse`.

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
    classifier = ""
    if network is not None:
        if weight is not None or bias is not None:
            raise ArgumentError("weight: is read from the network; leave weight and bias out, or the network")
        train, test, last = _run(network, head, train, test, ignore_index, label_key, device, progress)
        weight, bias = (None if part is None else part.detach() for part in (last.weight, last.bias))
        if num_classes is None and encoding is None and weight is not None:
            num_classes = len(weight)
        classifier = str(last)
    for name, pair in (("train", train), ("test", test)):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ArgumentTypeError(
                f"{name}: expected a pair (features, labels), got {type(pair).__name__}; for loaders give network="
            )
    options: dict[str, Any] = {"weight": weight, "bias": bias, "encoding": encoding, "loss": loss}
    options |= {"convention": convention, "ignore_index": ignore_index}
    seen = collapse(*train, num_classes=num_classes, **options)
    unseen = collapse(*test, about=seen, **options)
    assert seen.source is not None
    assert unseen.source is not None
    means = seen.source.statistics.means
    directional: list[float | None] = []
    missing: dict[str, str] = {}
    for pair in (train, test):
        try:
            directional.append(directional_cdnv(*labeled_rows(pair[0], pair[1], ignore_index), means))
        except Undefined as reason:
            directional.append(None)
            missing["directional_cdnv"] = str(reason)
    spread = unseen.source.statistics
    total = float(spread.counts @ np.nan_to_num(spread.within_trace))
    own = collapse(*test, num_classes=seen.num_classes, ignore_index=ignore_index, covariance=False).source
    assert own is not None
    rest = float(own.statistics.counts @ np.nan_to_num(own.statistics.within_trace))
    share = None if total == 0.0 else max(0.0, 1.0 - rest / total)
    if share is None:
        missing["shift_share"] = "the held-out samples are at the training means"
    return HeldOut(seen, unseen, (directional[0], directional[1]), share, missing, classifier)


def _run(
    network: nn.Module,
    head: str | nn.Module | None,
    train: Iterable[Any],
    test: Iterable[Any],
    ignore_index: int | None,
    label_key: str | None,
    device: torch.device | str | None,
    progress: bool,
) -> tuple[Any, Any, Head]:
    """Features and labels of both loaders, and the classifier."""
    if not isinstance(network, nn.Module):
        raise ArgumentTypeError(f"network: expected a torch.nn.Module, got {type(network).__name__}")
    found: list[tuple[torch.Tensor, Any]] = []
    with placed(network, device) as place, undisturbed(network, place, train), undisturbed(network, place, test):
        reader = BatchReader(network, head, place, ignore_index, None)
        for name, loader in (("train", train), ("test", test)):
            read = (reader.read(*pair) for pair in tracked(labeled_batches(loader, label_key), None, show=progress))
            parts = [(rows.cpu(), labels) for _, rows, labels in filter(None, read)]
            if not parts:
                raise ArgumentError(f"{name}: yielded no samples; a loader must not be empty")
            found.append((torch.cat([rows for rows, _ in parts]), np.concatenate([labels for _, labels in parts])))
    assert reader.head is not None
    return found[0], found[1], reader.head
