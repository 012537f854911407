"""`measure_model`: measure a network on a loader. The network runs once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from encollapse._internal import checks
from encollapse._internal.progress import tracked
from encollapse._internal.typing import IntArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure.class_moments import ClassMoments
from encollapse.measure.decisions.classifier import LinearClassifier, known_classes, require_encoding
from encollapse.measure.forward.capture import capture
from encollapse.measure.forward.feature_store import DEFAULT_BUDGET, FeatureStore
from encollapse.measure.forward.head import Head, find_head
from encollapse.measure.forward.running import placed, run, undisturbed
from encollapse.measure.moments.distributed import is_running
from encollapse.measure.moments.inputs import labels_kept, moments_device
from encollapse.measure.moments.projection import keeps_covariance
from encollapse.measure.process_shares import Share, buffers_of_the_first, in_step, merged_share, required
from encollapse.measure.result import Collapse
from encollapse.measure.second_pass import finish
from encollapse.metrics import Convention, as_convention

_LABEL_KEYS = ("labels", "label", "target", "targets")


def measure_model(
    model: nn.Module,
    loader: Iterable[Any],
    head: str | nn.Module | None = None,
    *,
    encoding: Encoding | str | None = None,
    loss: str = "mse",
    num_classes: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    convention: str | Convention = "default",
    memory_budget: int = DEFAULT_BUDGET,
    distributed: bool = False,
    label_key: str | None = None,
    covariance: bool | None = None,
    ignore_index: int | None = None,
    label_shift: int | None = None,
) -> Collapse:
    """Measure the collapse of the features that enter the last layer of a network.

    The network runs once over the loader, in evaluation mode and without gradients. Training mode of
    every submodule, hooks and random state (of torch, numpy, Python and the loader) are restored
    afterwards. Its features are kept for the comparison with the nearest class mean: in memory within
    `memory_budget`, then in a temporary file.

    Parameters
    ----------
    model : torch.nn.Module
        The network. A tensor as input is passed as it is, a tuple or list as positional arguments, a
        mapping as keyword arguments.
    loader : iterable of (inputs, labels) or of mappings
        Batches, as a ``torch.utils.data.DataLoader`` yields them. A generator will do. From a mapping the
        labels are taken out, and the rest is passed as keyword arguments.
    head : str or torch.nn.Module, optional
        The last layer, whose inputs are the features. Default: the innermost module whose output on the first batch
        is the output of the network (or whose softmax or sigmoid is) and is a linear map of its input, or of its
        input divided by its length. ``geometry.provenance`` has its name as ``"head"``, and its kind and sizes as
        ``"classifier"``. Any module can be named. Metrics of the classifier need a linear map.
    encoding, loss
        What the outputs were trained toward, and how. See :func:`encollapse.measure.collapse`.
    num_classes : int, optional
        Number of classes. Default: that of the encoding, otherwise the number of outputs of the head.
    device : str or torch.device, optional
        Where the network runs. Default: where its parameters are. A network that is elsewhere is moved
        there and back.
    progress : bool
        Show a progress bar where standard error is a terminal and the work takes more than two seconds.
    convention : str or Convention
        Averaging and scaling choices. See :class:`encollapse.metrics.Convention`.
    memory_budget : int
        Bytes of features to keep in memory.
    distributed : bool
        Measure the samples of all processes of the default torch.distributed group together: every process
        calls this with its own share of the data, which may be empty, and gets the same result, or every one
        raises, where one of them cannot read its share. Without a running group it makes no difference.
    label_key : str, optional
        Where the labels are in batches that are mappings. Default: ``"labels"``, ``"label"``, ``"target"``
        or ``"targets"``, whichever there is.
    covariance : bool, optional
        Gather the (d, d) within-class covariance, which ``vci`` and the split of the squared error need. Without
        it ``nc1_pinv`` is taken along the class means in the second pass. Default: where it takes less than
        4 GiB. The ``route`` of the result names it.
    ignore_index : int, optional
        Label of samples and positions that are left out. Default: -100.
    label_shift : int, optional
        For labels (B, T) of tokens: by how many positions the label of a position stands after it. Default: 1 for
        causal language models of transformers, which shift the labels themselves, and 0 for all others.

    Returns
    -------
    Collapse
        Values or reasons, and the geometry to compare with a prediction.

    Raises
    ------
    ArgumentError
        If the loader yields nothing or no pairs, the last layer is unknown, cannot be told or does not run once a
        batch, a label is out of range, or a feature is not finite.
    ArgumentTypeError
        If the model is no module, or labels are no whole numbers.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    >>> images, labels = torch.randn(20, 3), torch.arange(20) % 5
    >>> measured = ec.measure.measure_model(network, [(images, labels)])
    >>> measured.geometry.provenance["classifier"]
    "'2' (Linear), 5 outputs of dimension 7"
    """
    chosen = as_convention(convention)
    require_encoding(encoding)
    budget = checks.integer(memory_budget, "memory_budget", minimum=0)
    checks.instance(model, "model", nn.Module, what="a torch.nn.Module")
    together = distributed and is_running()
    with placed(model, device) as place, undisturbed(model, place, loader), FeatureStore(budget) as store:
        reader = BatchReader(model, head, place, ignore_index, label_shift)

        def read() -> Share | None:
            return reader.gather(loader, store, label_key, num_classes, encoding, covariance, progress=progress)

        with buffers_of_the_first(model) if together else nullcontext():
            share = merged_share(read, moments_device(place)) if together else required(read())
        found = share.moments
        classifier = LinearClassifier.of(share.weight, share.bias, encoding, found.num_classes, found.feature_dim, loss)
        return finish(store, share.labels, found, classifier, chosen, share.provenance, merged=together)


class BatchReader:
    """Runs the model batch by batch and hands out the features that enter its head."""

    def __init__(
        self,
        model: nn.Module,
        head: str | nn.Module | None,
        device: torch.device,
        ignore_index: int | None,
        label_shift: int | None,
    ) -> None:
        self._model, self._wanted, self._device, self._ignored = model, head, device, ignore_index
        self.head: Head | None = None
        self._required = label_shift is not None
        given = None if label_shift is None else checks.integer(label_shift, "label_shift", minimum=0)
        self.shift = int(shifts_labels(model)) if given is None else given

    def gather(
        self,
        loader: Iterable[Any],
        store: FeatureStore,
        label_key: str | None,
        num_classes: int | None,
        encoding: Encoding | str | None,
        covariance: bool | None = None,
        *,
        progress: bool,
    ) -> Share | None:
        """Moments, labels and head of all batches, whose features go to the store; None where there are no samples."""
        labels: list[IntArray] = []
        moments: ClassMoments | None = None
        with in_step(self._model) as all_ready:
            for inputs, targets in tracked(labeled_batches(loader, label_key), loader_length(loader), show=progress):
                batch = self.read(inputs, targets, all_ready)
                if batch is None:
                    continue
                last, features, classes = batch
                if moments is None:
                    count, width = _num_classes(num_classes, encoding, last), features.shape[1]
                    kept = keeps_covariance(covariance, width)
                    moments = ClassMoments(count, width, device=moments_device(self._device), covariance=kept)
                _require_known_classes(classes, moments.num_classes, last.name)
                moments.update(features, classes)
                store.append(features)
                labels.append(classes)
        if moments is None:
            return None
        source: dict[str, Any] = {"head": last.name, "classifier": str(last)}
        if self.shift:
            source["label_shift"] = self.shift
        return Share(moments, np.concatenate(labels), last.weight, last.bias, source)

    def read(
        self, inputs: Any, targets: Any, all_ready: Callable[[], None] = lambda: None
    ) -> tuple[Head, torch.Tensor, IntArray] | None:
        """The head, features (n, d) and labels (n,) of a batch, or None where it has no samples.

        `all_ready` is called before the network runs.
        """
        labels = checks.to_numpy(targets, "labels")
        if not labels.size:
            return None
        inputs = with_decoder_inputs(self._model, inputs, targets)
        all_ready()
        if self.head is None:
            self.head = find_head(self._model, inputs, self._device, self._wanted)
            features = self.head.features
        else:
            with capture(self._model, self.head.module) as captured:
                outputs = run(self._model, inputs, self._device)
            if len(captured) != 1:
                raise ArgumentError(
                    f"head: {self.head.name!r} ran {len(captured)} times in one batch, and must run once; name another "
                    "layer"
                )
            features = self.head.arranged(captured[0], outputs)
        if self.shift and labels.ndim == 2 and features.ndim == 3:
            features, labels = features[:, : features.shape[1] - self.shift], labels[:, self.shift :]
        elif self.shift and self._required:
            raise ArgumentError(f"label_shift: is for labels (B, T) of tokens, and these have shape {labels.shape}")
        rows = self.head.rows(features, labels.shape)
        flat = labels.reshape(-1) if features.ndim > 2 else labels
        kept = labels_kept(flat, self._ignored)
        if kept.ndim == 1 and len(kept) == len(rows) and not kept.all():
            rows, flat = rows[torch.from_numpy(kept).to(rows.device)], flat[kept]
        checked = checks.class_labels(flat, 2**62)
        if len(checked) != len(rows):
            cure = (
                f", whose input has shape {tuple(features.shape)} for labels of shape {labels.shape}; thin the labels "
                "out to the positions of the features, such as labels[:, ::2, ::2], or name a layer at full resolution"
            )
            raise ArgumentError(
                f"loader: a batch has {len(checked)} labels for {len(rows)} rows of features at {self.head.name!r}"
                + (cure if labels.ndim > 1 and features.ndim == labels.ndim + 1 else "")
            )
        return (self.head, rows, checked) if len(rows) else None


def _of_transformers(model: nn.Module) -> Any:
    """The outermost network of transformers in a model, or None."""
    base = getattr(sys.modules.get("transformers.modeling_utils"), "PreTrainedModel", None)
    return None if base is None else next((part for part in model.modules() if isinstance(part, base)), None)


def with_decoder_inputs(model: nn.Module, inputs: Any, labels: Any) -> Any:
    """Inputs with those of the decoder, which networks of transformers make of the labels where none are given.

    The labels are not passed on, and without them some fail (T5), and others decode the inputs of the encoder (BART).
    """
    if not isinstance(inputs, Mapping) or {"decoder_input_ids", "decoder_inputs_embeds"} & inputs.keys():
        return inputs
    make = getattr(_of_transformers(model), "prepare_decoder_input_ids_from_labels", None)
    if make is None or getattr(labels, "ndim", 0) != 2:
        return inputs
    return {**inputs, "decoder_input_ids": make(labels=labels)}


def shifts_labels(model: nn.Module) -> bool:
    """Whether a network is a causal language model of transformers, or a wrapper around one."""
    outermost = _of_transformers(model)
    if outermost is None or getattr(outermost.config, "is_encoder_decoder", False):
        return False
    return type(outermost).__name__.endswith(("ForCausalLM", "LMHeadModel"))


def labeled_batches(loader: Iterable[Any], label_key: str | None) -> Iterator[tuple[Any, Any]]:
    """Yield inputs and labels of each batch, checked for their form."""
    if not isinstance(loader, Iterable):
        raise ArgumentTypeError(
            f"loader: expected batches of (inputs, labels) to iterate over, got {type(loader).__name__}"
        )
    for number, batch in enumerate(loader):
        if isinstance(batch, Mapping):
            yield _split(batch, label_key, number)
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            if isinstance(batch[1], tuple | list) and any(getattr(part, "ndim", 0) for part in batch[1]):
                raise ArgumentError(
                    f"loader: the labels of batch {number} are a {type(batch[1]).__name__} of tensors; give one tensor "
                    "of labels a batch, and several loaders as one, such as [*first, *second]"
                )
            yield batch[0], batch[1]
        else:
            size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
            raise ArgumentError(
                f"loader: expected pairs (inputs, labels), but batch {number} is a "
                f"{type(batch).__name__}{size}; wrap the loader in a generator that yields pairs"
            )


class SplitBatches:
    """The batches of a loader, each taken apart by a function. Its attributes, generators included, are the loader's.

    Unlike ``map`` it asks the loader for nothing, random numbers included, before it is iterated over.
    """

    def __init__(
        self, loader: Iterable[Any], split: Callable[[Any], tuple[Any, Any]], limit: int | float | None = None
    ) -> None:
        # The first batches, by their number, or by their share of all where that is no whole number.
        self._loader, self._split, self._limit = loader, split, limit

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        limit = self._limit
        if isinstance(limit, float):
            limit = None if limit == 1.0 else len(self)
        return islice(map(self._split, self._loader), limit)

    def __len__(self) -> int:
        size, limit = len(self._loader), self._limit  # type: ignore[arg-type]  # a TypeError where it has no length
        if limit is None:
            return size
        return min(size, limit if isinstance(limit, int) else int(size * limit))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _split(batch: Mapping[Any, Any], label_key: str | None, number: int) -> tuple[dict[Any, Any], Any]:
    wanted = _LABEL_KEYS if label_key is None else (label_key,)
    found = [key for key in wanted if key in batch]
    if len(found) != 1:
        raise ArgumentError(
            f"loader: batch {number} is a dict of {len(batch)} with the keys {list(batch)}, of which "
            f"{len(found)} are among {wanted}; name the one that holds the labels by label_key"
        )
    return {key: value for key, value in batch.items() if key != found[0]}, batch[found[0]]


def loader_length(loader: Iterable[Any]) -> int | None:
    """Return the number of batches, None where the loader cannot tell."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError:
        return None


def _num_classes(given: int | None, encoding: Encoding | str | None, head: Head) -> int:
    known = known_classes(given, encoding)
    if known is not None:
        return known
    if head.weight is not None:
        return len(head.weight)
    raise ArgumentError(
        f"num_classes: the head {head.name!r} is no linear map that would tell the number of classes; "
        "give num_classes or encoding"
    )


def _require_known_classes(labels: IntArray, num_classes: int, head: str) -> None:
    if len(labels) and labels.max() >= num_classes:
        cures = [f"where the outputs of {head!r} are not one a class, give encoding or num_classes"]
        if labels.min() == 1 and labels.max() == num_classes:
            cures.insert(0, "if they count from 1, take labels - 1")
        else:
            cures.append(f"where it marks what has no label, give ignore_index={labels.max()}")
        raise ArgumentError(
            f"labels: expected values from 0 to {num_classes - 1}, got {labels.max()}; {'; '.join(cures)}"
        )
