"""What stands between a network's last mixing layer and its head, read off the graph that autograd records.

The graph is followed backward from the features, the input of the head, through operations that neither mix
coordinates nor add parameters of their own, up to the first normalization, mixing layer or sum. It sees functions
and modules alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

_RESHAPING = frozenset(
    [
        "View",
        "UnsafeView",
        "ReshapeAlias",
        "Transpose",
        "T",
        "Permute",
        "Movedim",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Clone",
        "ToCopy",
        "Alias",
        "AsStrided",
        "Select",
        "Slice",
        "Index",
        "IndexSelect",
        "Gather",
        "Narrow",
    ]
)
_MEANS = frozenset(
    ["Mean", "AvgPool1D", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D"]
)
_NORMS = {
    "NativeBatchNorm": "batch_norm",
    "CudnnBatchNorm": "batch_norm",
    "MiopenBatchNorm": "batch_norm",
    "NativeLayerNorm": "layer_norm",
    "FusedRmsNorm": "rms_norm",
    "NativeGroupNorm": "group_norm",
}
_LINEAR = frozenset(["Addmm", "Mm", "Addbmm", "Bmm", "Baddbmm", "Linear", "MkldnnLinear"])
_CONVOLUTIONS = frozenset(["Convolution", "CudnnConvolution", "MkldnnConvolution", "SlowConv2D", "ThnnConv2D"])
_FAMILIAR = {
    "Gelu": "GELU",
    "Silu": "SiLU",
    "Hardswish": "Hardswish",
    "LeakyRelu": "leaky ReLU",
    "Elu": "ELU",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Mish": "Mish",
    "PreluKernel": "PReLU",
    "MaxPool2DWithIndices": "max pooling",
    "AdaptiveMaxPool2D": "max pooling",
    "NativeDropout": "dropout",
    "Div": "a division",
    "Cat": "a concatenation",
    "Sum": "a sum over positions",
    "Mul": "a product",
}


@dataclass(frozen=True)
class Tail:
    """The tail of a network, from the head backward.

    Attributes
    ----------
    kind : str
        What the walk ended at: ``"batch_norm"``, ``"layer_norm"``, ``"rms_norm"``, ``"group_norm"``, ``"scaled"`` (a
        vector of gains of unknown purpose), ``"linear"``, ``"convolution"``, ``"residual_sum"``, ``"inputs"`` or
        ``"other"``.
    gain, offset : str, optional
        Parameters of the normalization by their names in the network.
    weights : tuple of str
        For ``"linear"``: the weights of the linear layers below the head, the nearest first.
    biases : tuple of (str or None)
        Their biases.
    relu : bool
        Whether negative features are set to 0 on the way.
    ceiling : float, optional
        Largest feature that the activation lets through (6 for ReLU6).
    pooled : bool
        Whether features are averages over positions.
    other : str
        The operation that no law covers, where `kind` is ``"other"``.
    epsilon : float
        What the normalization adds to the variance.
    path : tuple of str
        Operations in the order of the walk, for the reader.
    affine : bool
        Whether the normalization has gains.
    other_outputs : tuple of str
        Parameters that turn these features into other outputs of the network, and have no part in the head's.
    returned : bool
        Whether the network makes other outputs of these features.
    """

    kind: str
    gain: str | None = None
    offset: str | None = None
    weights: tuple[str, ...] = ()
    biases: tuple[str | None, ...] = ()
    relu: bool = False
    ceiling: float | None = None
    pooled: bool = False
    other: str = ""
    epsilon: float = 0.0
    path: tuple[str, ...] = ()
    affine: bool = True
    other_outputs: tuple[str, ...] = ()
    returned: bool = False


@dataclass
class _Walk:
    names: dict[int, str]
    sizes: dict[str, int]
    width: int
    relu: bool = False
    ceiling: float | None = None
    pooled: bool = False
    gain: str | None = None
    offset: str | None = None
    path: list[str] = field(default_factory=list)

    def end(self, kind: str, **more: Any) -> Tail:
        found = {"gain": self.gain, "offset": self.offset} | more
        return Tail(kind, relu=self.relu, ceiling=self.ceiling, pooled=self.pooled, path=tuple(self.path), **found)


def read_tail(features: Tensor, network: nn.Module) -> Tail:
    """Follow the graph of the features, the (n, d) or (n, …, d) input of the head, back to what they are made by."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    walk = _Walk(names, sizes, features.shape[-1])
    node = features.grad_fn
    while node is not None:
        name = _name(node)
        walk.path.append(name)
        if name in _RESHAPING:
            node = _input(node)
        elif name in _MEANS:
            walk.pooled = True
            node = _input(node)
        elif name in ("Relu", "Hardtanh", "ClampMin", "Clamp"):
            low, high = _limits(node, name)
            if low != 0.0:
                bounds = f"to {high:g}" if low == float("-inf") and high is not None else f"from {low:g}"
                return walk.end("other", other=f"a clamp {bounds}")
            walk.relu, walk.ceiling = True, high
            node = _input(node)
        elif name in _NORMS:
            return _normalization(walk, node, _NORMS[name])
        elif name in _LINEAR or name in _CONVOLUTIONS:
            return _linear(walk, node)
        elif name in ("Add", "Mul"):
            parameter, rest = _operands(walk, node)
            if parameter is None:
                if name == "Add" and sum(before is not None for before, _ in node.next_functions) > 1:
                    return walk.end("residual_sum")
                if name == "Add":
                    return walk.end("other", other="a sum with a constant, or with noise,")
                return walk.end("other", other=_product(node))
            if name == "Mul" and walk.sizes[parameter] != walk.width:
                return walk.end("other", other="a product with learned numbers of another shape than the features")
            if name == "Mul":
                walk.gain = parameter
                return walk.end("scaled")
            if rest is not None and _name(rest) in _LINEAR | _RESHAPING and walk.offset is None and _is_linear(rest):
                return _linear(walk, rest, bias=parameter)
            walk.offset = parameter
            node = rest
        else:
            return walk.end("other", other=_FAMILIAR.get(name, name))
    return walk.end("inputs")


def with_other_uses(tail: Tail, network: nn.Module, scores: Tensor, result: Any) -> Tail:
    """The tail with what the network makes of its features beside the `scores` of the head."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    own, mark = _parameters_below(scores, names), tail.gain or (tail.weights[0] if tail.weights else None)
    found: set[str] = set()
    returned = False
    for output in _tensors(result):
        used = _parameters_below(output, names)
        if mark in used and used != own:
            returned = True
            found |= used - own
    return replace(tail, other_outputs=tuple(sorted(found)), returned=returned)


def _tensors(result: Any) -> Iterator[Tensor]:
    """Tensors with a graph in what a network returned."""
    if isinstance(result, Tensor):
        if result.grad_fn is not None:
            yield result
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from _tensors(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from _tensors(value)


def _parameters_below(output: Tensor, names: dict[int, str]) -> set[str]:
    """Names of the parameters that an output is made of."""
    found, seen, waiting = set(), set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = names.get(id(getattr(node, "variable", None)))
        if name is not None:
            found.add(name)
        waiting += [before for before, _ in node.next_functions]
    return found


def _name(node: Any) -> str:
    text = node.name() if hasattr(node, "name") else type(node).__name__
    return str(text.split("::")[-1].partition("Backward")[0].lstrip("_"))


def _input(node: Any) -> Any:
    return next((before for before, _ in node.next_functions if before is not None), None)


def _shaped(node: Any) -> Any:
    """The first node backward that does more than reshape."""
    while node is not None and _name(node) in _RESHAPING:
        node = _input(node)
    return node


def _limits(node: Any, name: str) -> tuple[float, float | None]:
    if name == "Relu":
        return 0.0, None
    low = getattr(node, "_saved_min_val", getattr(node, "_saved_min", None))
    high = getattr(node, "_saved_max_val", getattr(node, "_saved_max", None))
    return float("-inf") if low is None else float(low), None if high is None else float(high)


def _parameter(walk: _Walk, node: Any) -> str | None:
    """Name of the parameter that a node hands on unchanged but for its shape."""
    variable = getattr(_shaped(node), "variable", None)
    return None if variable is None else walk.names.get(id(variable))


def _operands(walk: _Walk, node: Any) -> tuple[str | None, Any]:
    """The parameter among two operands, and the other operand. Constants do not count."""
    nodes = [before for before, _ in node.next_functions if before is not None]
    found = [(_parameter(walk, before), before) for before in nodes]
    named = [name for name, _ in found if name is not None]
    rest = [before for name, before in found if name is None]
    if len(named) == 1 and len(rest) == 1:
        return named[0], rest[0]
    return None, None


def _product(node: Any) -> str:
    """What a product is that has no parameter of the network among its factors."""
    if sum(before is not None for before, _ in node.next_functions) < 2:
        return "a product with a constant, or with a random mask,"
    return "a product of activations (a gate, attention or a random mask)"


def _is_linear(node: Any) -> bool:
    made_by = _shaped(node)
    return made_by is not None and _name(made_by) in _LINEAR


def _normalization(walk: _Walk, node: Any, kind: str) -> Tail:
    after = [before for before, _ in node.next_functions]
    gain = _parameter(walk, after[1]) if len(after) > 1 else None
    offset = _parameter(walk, after[2]) if len(after) > 2 else None
    affine = len(after) > 1 and after[1] is not None
    if affine and gain is None:
        return walk.end("other", other="a normalization whose gains are computed from other parameters")
    epsilon = float(getattr(node, "_saved_eps", 0.0) or 0.0)
    return walk.end(kind, gain=gain, offset=offset or walk.offset, epsilon=epsilon, affine=affine)


def _linear(walk: _Walk, node: Any, bias: str | None = None) -> Tail:
    """Follow linear layers that feed each other."""
    weights: list[str] = []
    biases: list[str | None] = []
    while (node := _shaped(node)) is not None:
        name = _name(node)
        if name in _CONVOLUTIONS and not weights:
            return walk.end("convolution")
        if name == "Add" and weights:
            parameter, rest = _operands(walk, node)
            if parameter is None or not _is_linear(rest):
                break
            bias, node = parameter, rest
            continue
        if name not in _LINEAR:
            break
        operands = [before for before, _ in node.next_functions if before is not None]
        named = [(before, _parameter(walk, before)) for before in operands]
        matrix = [item for item in named if item[1] is not None and _dims(item[0]) == 2]
        vector = [item for item in named if item[1] is not None and _dims(item[0]) == 1]
        rest_nodes = [before for before, parameter in named if parameter is None]
        if len(matrix) != 1 or len(rest_nodes) > 1:
            return walk.end("other", other="a product with a matrix that is no parameter of its own")
        weights.append(str(matrix[0][1]))
        biases.append(vector[0][1] if vector else bias)
        bias = None
        node = rest_nodes[0] if rest_nodes else None
    return walk.end("linear", weights=tuple(weights), biases=tuple(biases))


def _dims(node: Any) -> int:
    return int(_shaped(node).variable.dim())


def owner(network: nn.Module, parameter: str) -> tuple[str, nn.Module]:
    """The module that holds a parameter, with its name."""
    name = parameter.rpartition(".")[0]
    return name, network.get_submodule(name)


@contextmanager
def with_graph(network: nn.Module) -> Iterator[None]:
    """Let every parameter record a graph."""
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    for parameter, _ in before:
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter, wanted in before:
            parameter.requires_grad_(wanted)
