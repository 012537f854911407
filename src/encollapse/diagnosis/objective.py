"""The user's loss as one of the losses of theory: which, on which scale, towards which codewords."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from encollapse import encodings
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class LossReading:
    """``user's loss = scale · mean over samples of (class weight · theory's loss)``.

    Attributes
    ----------
    kind : str or None
        ``"mse"``, ``"cross_entropy"``, or None where theory has no law for this loss.
    scale : float
        A weight decay of the optimizer over `scale` is the decay of theory.
    encoding : Encoding
        What the outputs are asked for, one codeword a class.
    class_weights : (K,), optional
        Factors of the loss by class, or None for 1 everywhere.
    words : str
        The loss for the reader, with what its scale rests on.
    of_logarithms : bool
        Whether the loss takes logarithms of probabilities, which the network has to return.
    """

    kind: str | None
    scale: float
    encoding: Encoding
    class_weights: FloatArray | None
    words: str
    of_logarithms: bool = False


def read_loss(
    loss: Any, encoding: Encoding, given: bool, counts: IntArray, batch_size: int, *, vectors: bool = False
) -> LossReading:
    """Read a loss.

    Parameters
    ----------
    loss : str or torch.nn.Module
        ``"mse"`` is ``½|o - e|²`` summed over the outputs, ``"cross_entropy"`` as in torch. Both are means over the
        samples. A module counts with its own scale.
    encoding : Encoding
        Codewords of the classes before smoothing.
    given : bool
        Whether the caller gave the encoding.
    counts : (K,)
        Samples of each class.
    batch_size : int
        Samples in a batch, the scale of a sum.
    vectors : bool
        Whether the loss was given codewords, and not the numbers of classes.
    """
    if isinstance(loss, str):
        if loss not in ("mse", "cross_entropy"):
            raise ArgumentError(f"loss: expected 'mse', 'cross_entropy' or a torch loss module, got {loss!r}")
        return LossReading(loss, 1.0, encoding, None, f"{loss}, mean over the samples")
    if isinstance(loss, nn.MSELoss | nn.CrossEntropyLoss | nn.NLLLoss) and loss.reduction == "none":
        name = type(loss).__name__
        words = f"{name} with reduction='none', and what was made of it is not known; give one with 'mean' or 'sum'"
        return LossReading(None, 1.0, encoding, None, words)
    if isinstance(loss, nn.MSELoss):
        return _mse(loss, encoding, batch_size)
    if isinstance(loss, nn.CrossEntropyLoss):
        return _cross_entropy(loss, encoding, given, counts, batch_size, vectors)
    if isinstance(loss, nn.NLLLoss):
        same = nn.CrossEntropyLoss(loss.weight, ignore_index=loss.ignore_index, reduction=loss.reduction)
        reading = _cross_entropy(same, encoding, given, counts, batch_size, vectors)
        return replace(reading, words=reading.words.replace("CrossEntropyLoss", "NLLLoss", 1), of_logarithms=True)
    if isinstance(loss, nn.Module):
        name = type(loss).__name__
        return LossReading(None, 1.0, encoding, None, f"{name}, for which no law is known")
    raise ArgumentTypeError(f"loss: expected 'mse', 'cross_entropy' or a torch loss module, got {type(loss).__name__}")


def _mse(loss: nn.MSELoss, encoding: Encoding, batch_size: int) -> LossReading:
    if loss.reduction == "mean":
        q = encoding.code_dim
        return LossReading(
            "mse", 2.0 / q, encoding, None, f"MSELoss, a mean over samples and {q} outputs: 2/{q} of ½|o - e|²"
        )
    return LossReading(
        "mse",
        2.0 * batch_size,
        encoding,
        None,
        f"MSELoss summed over batches of {batch_size}: {2 * batch_size} times ½|o - e|²",
    )


def _cross_entropy(
    loss: nn.CrossEntropyLoss, encoding: Encoding, given: bool, counts: IntArray, batch_size: int, vectors: bool
) -> LossReading:
    k = encoding.num_classes
    if not vectors and 0 <= loss.ignore_index < k and counts[loss.ignore_index]:
        raise ArgumentError(
            f"loss: it ignores class {loss.ignore_index} (ignore_index), of which the loader has samples; leave those "
            "out of the loader and the class out of the outputs, or train on them"
        )
    smoothing = float(loss.label_smoothing)
    words = "CrossEntropyLoss" + (f" with label smoothing {smoothing:g}" if smoothing else "")
    scale = 1.0 if loss.reduction == "mean" else float(batch_size)
    if scale != 1.0:
        words += f", summed over batches of {batch_size}"
    if loss.weight is None:
        if smoothing and not given:
            encoding = encodings.label_smoothing(k, smoothing)
        elif smoothing:
            encoding = Encoding((1 - smoothing) * encoding.codewords + smoothing / encoding.code_dim)
        return LossReading("cross_entropy", scale, encoding, None, words)
    factors = loss.weight.detach().to("cpu").double().numpy()
    if len(factors) != encoding.code_dim:
        raise ArgumentError(
            f"loss: has {len(factors)} class weights for {encoding.code_dim} outputs; give the loss of this network"
        )
    if (factors < 0).any():
        raise ArgumentError(
            f"loss: class {int(np.argmin(factors))} has the weight {factors.min():g}; it must not be negative"
        )
    # torch weighs every entry of a target, smoothed ones too: each class asks for a distribution times a factor.
    targets = factors[:, None] * ((1 - smoothing) * encoding.codewords + smoothing / encoding.code_dim)
    totals = targets.sum(axis=0)
    if (totals <= 0).any():
        raise ArgumentError(
            f"loss: class {int(np.argmin(totals))} has weight 0, so nothing is asked of it; leave it out"
        )
    if loss.reduction == "mean" and not vectors:
        # Torch divides by the mean weight of the classes in the batch; over the whole set this is its expectation.
        weights = totals / float(factors @ encoding.codewords @ (counts / counts.sum()))
        words += ", weighted by class (divided by the mean weight of the whole set, which batches reach on average)"
    else:
        weights = totals
        words += ", weighted by class"
    return LossReading("cross_entropy", scale, Encoding(targets / totals), weights, words)
