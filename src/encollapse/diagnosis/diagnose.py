"""`diagnose`: which law holds for a training, what it predicts, how far the network is, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from encollapse import encodings, ufm
from encollapse._internal import checks
from encollapse._internal.typing import IntArray
from encollapse.diagnosis.decay_time import decay_time
from encollapse.diagnosis.laws.find import find_law
from encollapse.diagnosis.laws.law import UNSOLVED, Law, Setting
from encollapse.diagnosis.objective import read_loss
from encollapse.diagnosis.observe import Observation, dropout_after, observe, tail_of
from encollapse.diagnosis.optimizer import read_decays
from encollapse.diagnosis.result import Diagnosis
from encollapse.diagnosis.tail import Tail, owner
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseError
from encollapse.geometry import compare
from encollapse.measure import collapse
from encollapse.measure.decisions.classifier import require_encoding
from encollapse.measure.forward.head import Head, find_head
from encollapse.measure.forward.outputs import change_of
from encollapse.measure.forward.running import placed, run, undisturbed
from encollapse.measure.model import labeled_batches

T = TypeVar("T")

_FAR = 2.0  # standard deviations, or twofold variances: other data than the running averages are of


def diagnose(
    network: nn.Module,
    loader: Iterable[Any],
    optimizer: Any = None,
    *,
    loss: str | nn.Module = "cross_entropy",
    head: str | nn.Module | None = None,
    encoding: Encoding | str | None = None,
    weight_decay: float | Mapping[str, float] | None = None,
    feature_decay: float | None = None,
    scheduler: Any = None,
    steps: int | None = None,
    label_key: str | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Find the geometry that a training leads to, measure the network, and say how far it is and why.

    The tail of the network is read by running it: what stands between the last mixing layer and the head decides how
    weight decay prices the features, and so which law holds. The minimum of the problem that follows is computed with
    its certificate, and nothing is fitted.

    Parameters
    ----------
    network : torch.nn.Module
        The trained network. It is left as it was.
    loader : iterable of (inputs, labels) or of mappings
        The training set, as a ``torch.utils.data.DataLoader`` yields it. It is read twice, so a generator will not do.
    optimizer : torch.optim.Optimizer, optional
        What trained the network. Its parameter groups tell the weight decay of every parameter.
    loss : {"cross_entropy", "mse"} or torch.nn.Module
        The loss of the training. The words are means over the samples, ``"mse"`` of ``½|o - e|²`` summed over the
        outputs. ``nn.MSELoss``, ``nn.CrossEntropyLoss`` and ``nn.NLLLoss`` count with their own scale, smoothing and
        class weights.
    head : str or torch.nn.Module, optional
        The classifier. Default: the module whose output is that of the network.
    encoding : Encoding or str, optional
        Codewords of the classes. Default: one-hot, with the smoothing of the loss.
    weight_decay : float or dict of str to float, optional
        Instead of an optimizer: one decay for all trained parameters, or decays by name of parameter or module.
    feature_decay : float, optional
        ``λ_H`` where the loss itself holds ``λ_H/2 Σ|h_i|²`` over all samples.
    scheduler : optional
        The learning-rate scheduler after the training, for the decay time.
    steps : int, optional
        Steps of the optimizer, for the decay time.
    label_key : str, optional
        Where the labels are in batches that are mappings.
    device : str or torch.device, optional
        Where the network runs. Default: where it is.
    progress : bool
        Show a progress bar where the work takes more than two seconds.

    Returns
    -------
    Diagnosis
        Law, conditions, prediction, measurement, comparison, excess, decay time and verdict.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If no head is found, the optimizer belongs to another network, a label is out of range, or the statistics of
        the last normalization are far from those of these data.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> _ = torch.manual_seed(0)
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Linear(5, 16, bias=False), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 3)
    ... )
    >>> x, y = torch.randn(30, 5), torch.arange(30) % 3
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.cross_entropy(network(x), y).backward()
    ...     optimizer.step()
    >>> d = ec.diagnose(network, [(x, y)], optimizer, steps=200)
    >>> d.law, d.prediction.certificate.holds
    ('batch_norm', True)
    """
    checks.instance(network, "network", nn.Module, what="a torch.nn.Module")
    if isinstance(loader, Iterator):
        raise ArgumentError("loader: it is read twice, and an iterator can be used once; give a list or a DataLoader")
    require_encoding(encoding)
    if scheduler is not None and not hasattr(getattr(scheduler, "scheduler", scheduler), "last_epoch"):
        raise ArgumentTypeError(f"scheduler: expected a learning-rate scheduler, got {type(scheduler).__name__}")
    decays = read_decays(network, optimizer, weight_decay)
    if feature_decay is not None:
        feature_decay = checks.positive(feature_decay, "feature_decay", why="at 0 features grow without bound")
    training = {id(module) for module in network.modules() if module.training}
    with placed(network, device) as place, undisturbed(network, place, loader):
        inputs, _ = next(iter(labeled_batches(loader, label_key)), (None, None))
        if inputs is None:
            raise ArgumentError("loader: yielded no samples; a loader must not be empty")
        found = find_head(network, inputs, place, head)
        if found.positions != "all" or found.order != "same":
            raise ArgumentError(
                f"head: {found.name!r} scores every position, and the network returns them in another order or for one "
                "or their mean; a law needs a head that sees the features of a sample as they are: pool before it"
            )
        tail = tail_of(network, found, inputs, place)
        dropout = dropout_after(network, found, tail, inputs, place)
        seen = observe(
            network, loader, found, tail, device=place, label_key=label_key, dropout=dropout, progress=progress
        )
        if not torch.isfinite(seen.features).all():
            raise ArgumentError(
                f"network: the features that enter {found.name!r} are not all finite (NaN or infinity); look at its "
                "weights and inputs"
            )
        still = tail.gain is not None and id(network) in training and id(owner(network, tail.gain)[1]) not in training
        if not still:
            _require_same_data(seen, tail.kind)
        codewords = _encoding(encoding, seen, found)
        if found.weight is not None and codewords.code_dim != len(found.weight):
            raise ArgumentError(
                f"encoding: {codewords.name!r} has codewords of length {codewords.code_dim}, and the head "
                f"{found.name!r} has {len(found.weight)} outputs; give the encoding that the network was trained toward"
            )
        counts = _counts(seen.labels, codewords.num_classes)
        reading = read_loss(
            loss,
            codewords,
            encoding is not None or seen.codewords is not None,
            counts,
            seen.batch_size,
            vectors=seen.codewords is not None or codewords.name != "one-hot",
        )
        law = find_law(
            Setting(
                tail,
                seen,
                decays,
                reading,
                counts,
                *_head_parameters(network, found),
                feature_decay=feature_decay,
                head_is_last=found.final,
                change=change_of(found.outputs, run(network, inputs, place)) if found.final else "",
                still_statistics=still,
            )
        )
        kind = reading.kind or "mse"
        measured = collapse(
            seen.features, seen.labels, weight=found.weight, bias=found.bias, encoding=reading.encoding, loss=kind
        )
    missing: dict[str, str] = {}
    prediction, comparison, excess = None, None, None
    if law.problem is None:
        missing["prediction"] = next((c.detail for c in law.conditions if c.text == UNSOLVED), law.reason)
    else:
        prediction = _attempt("prediction", missing, lambda: ufm.solve(law.problem, throw=False))
    if prediction is not None:
        minimum, rows = prediction, (seen.features, seen.labels, found.weight, found.bias)
        comparison = _attempt("comparison", missing, lambda: compare(minimum.geometry, measured.geometry))
        inner = _inner(network, law, tail)
        excess = _attempt("excess", missing, lambda: ufm.excess(law.problem, *rows, inner=inner, solution=minimum))
    time = decay_time(optimizer, scheduler, steps, law.decay, seen.batches) if law.decay else None
    return Diagnosis(
        law=law.name,
        reason=law.reason,
        conditions=law.conditions,
        problem=law.problem,
        prediction=prediction,
        collapse=measured,
        comparison=comparison,
        excess=excess,
        decay_time=time,
        head=found.name,
        loss=reading.words,
        decays=decays.source,
        missing=missing,
    )


def _require_same_data(seen: Observation, kind: str) -> None:
    if kind != "batch_norm" or seen.mean_error is None or seen.variance_ratio is None or seen.runs > 1:
        return
    if seen.mean_error > _FAR or not 1 / (2 * _FAR) <= seen.variance_ratio <= 2 * _FAR:
        raise ArgumentError(
            f"loader: the running statistics of the last batch normalization are far from these data (means up to "
            f"{seen.mean_error:.2g} standard deviations off, variance {seen.variance_ratio:.2g} times); give the "
            "training set as it was seen in training, or refresh the statistics by running the network over it in "
            "training mode. Where the normalization was in evaluation mode during the training too, no law covers it"
        )


def _encoding(given: Encoding | str | None, seen: Observation, head: Head) -> Encoding:
    if seen.codewords is not None:
        return Encoding(seen.codewords, name="targets of the loader")
    if isinstance(given, str):
        return encodings.by_name(given, _num_outputs(head))
    if given is not None:
        return given
    if int(seen.labels.max()) >= _num_outputs(head):
        raise ArgumentError(
            f"labels: expected values from 0 to {_num_outputs(head) - 1}, got {int(seen.labels.max())}; where "
            "outputs are not one a class, give the encoding"
        )
    return encodings.one_hot(_num_outputs(head))


def _counts(labels: IntArray, num_classes: int) -> IntArray:
    if int(labels.max()) >= num_classes:
        raise ArgumentError(f"labels: expected values from 0 to {num_classes - 1}, got {int(labels.max())}")
    counts = np.bincount(labels, minlength=num_classes)
    if (counts == 0).any():
        empty = int(np.argmin(counts))
        raise ArgumentError(
            f"loader: class {empty} of {num_classes} has no samples, so this is not the training set, or the head "
            "scores other classes; give all samples, or the head and the encoding of these labels"
        )
    return counts


def _num_outputs(head: Head) -> int:
    if head.weight is None:
        raise ArgumentError(
            f"head: {head.name!r} is no linear map of its input, so no number of classes is known; name the last "
            "linear layer"
        )
    return len(head.weight)


def _head_parameters(network: nn.Module, head: Head) -> tuple[str | None, str | None]:
    """Names of the head's weight and bias, where they are parameters that act as they are."""
    prefix = f"{head.name}." if head.name else ""
    own = {id(parameter): name for name, parameter in network.named_parameters()}
    weight, bias = getattr(head.module, "weight", None), getattr(head.module, "bias", None)
    if (
        not isinstance(weight, nn.Parameter)
        or head.weight is None
        or head.on_sphere
        or weight.numel() != head.weight.numel()
    ):
        return None, None
    if not torch.equal(weight.detach().reshape(head.weight.shape).to(head.weight.dtype), head.weight):
        return None, None
    return own.get(id(weight), f"{prefix}weight"), None if bias is None else own.get(id(bias), f"{prefix}bias")


def _attempt(name: str, missing: dict[str, str], compute: Callable[[], T]) -> T | None:
    """What is computed, or None with the reason in `missing`."""
    try:
        return compute()
    except EncollapseError as error:
        missing[name] = str(error)
        return None


def _inner(network: nn.Module, law: Law, tail: Tail) -> list[Any] | None:
    """The layer below the head of a linear tail of two, with its bias where it has one."""
    if law.name != "linear_tail" or len(tail.weights) != 1:
        return None
    named = dict(network.named_parameters())
    names = [tail.weights[0]] if math.isinf(law.problem.inner_bias_decay) else [tail.weights[0], tail.biases[0] or ""]
    return [named[name].detach() for name in names]
