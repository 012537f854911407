"""Checks of arguments: each returns the value in its canonical form or raises naming the argument."""

import difflib
import math
import numbers
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from encollapse._internal import memory
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError

Kind = TypeVar("Kind")


def to_numpy(value: ArrayLike, name: str) -> np.ndarray[Any, Any]:
    """Convert arrays, nested sequences and torch tensors (any device, any float dtype) to numpy."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _tensor_to_numpy(value, name)
    if torch is not None and isinstance(value, list | tuple) and isinstance(next(iter(value), None), torch.Tensor):
        value = [to_numpy(item, name) for item in value]  # numpy takes no tensors that require gradients
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        count = int(np.ma.getmaskarray(value).sum())
        raise ArgumentError(f"{name}: {count} entries are masked; drop or fill the samples they belong to first")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{name}: not an array ({error}); pass rows of equal length") from None
    if array.dtype == object:
        raise ArgumentTypeError(f"{name}: expected numbers, got {_of_objects(value, array)}")
    return array


def _of_objects(value: Any, array: np.ndarray[Any, Any]) -> str:
    """What an array of Python objects holds, and what makes numbers of it."""
    if hasattr(value, "toarray"):
        return f"a {type(value).__name__}; use .toarray()"
    kinds = {type(entry) for entry in array.flat[:1000]}
    if kinds and all(issubclass(kind, str) for kind in kinds):
        return "names; number them by classes, labels = np.unique(np.array(names, str), return_inverse=True)"
    held = ", ".join(sorted(kind.__name__ for kind in kinds)[:3])
    convertible = kinds and all(issubclass(kind, int | float | np.number) for kind in kinds)
    return f"an array of dtype object with {held or 'nothing'}" + ("; use .astype(float)" if convertible else "")


def require_dense(tensor: Any, name: str) -> None:
    """Raise unless a torch tensor has its entries in memory, one after the other."""
    torch = sys.modules["torch"]
    if tensor.is_meta:
        raise ArgumentTypeError(f"{name}: expected a tensor with values, got one on the device 'meta'")
    if tensor.is_nested or tensor.layout != torch.strided:
        kind = "a nested one" if tensor.is_nested else str(tensor.layout)
        cure = "pad it" if tensor.is_nested else "use .to_dense()"
        raise ArgumentTypeError(f"{name}: expected a dense tensor, got {kind}; {cure}")
    if tensor.is_quantized:
        raise ArgumentTypeError(f"{name}: expected a tensor of numbers, got {tensor.dtype}; use .dequantize()")


def whole(tensor: Any) -> Any:
    """Return a torch tensor in one piece, gathered from all processes where they share it (a DTensor, as of FSDP)."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def _tensor_to_numpy(tensor: Any, name: str) -> np.ndarray[Any, Any]:
    require_dense(tensor, name)
    own = whole(tensor.detach()).cpu().resolve_conj().resolve_neg()
    try:
        return np.asarray(own.numpy())
    except RuntimeError:
        kind = type(own).__name__
        raise ArgumentTypeError(f"{name}: expected a plain tensor, got a {kind}, which numpy cannot read") from None
    except TypeError as error:  # a dtype that numpy does not have
        if own.is_floating_point():
            return np.asarray(own.float().numpy())
        raise ArgumentTypeError(f"{name}: expected numbers that numpy has, got {own.dtype} ({error})") from None


def array(
    value: ArrayLike, name: str, shape: Sequence[int | None], *, axes: str = "", finite: bool = True
) -> FloatArray:
    """Return `value` as float64 with the given shape (``None`` matches any length above zero)."""
    raw = to_numpy(value, name)
    if raw.dtype.kind not in "fiu":
        raise ArgumentTypeError(f"{name}: expected real numbers, got dtype {raw.dtype}; convert it to float64")
    wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
    hint = f" = {axes}" if axes else ""
    if raw.ndim != len(shape) or any(s is not None and s != r for s, r in zip(shape, raw.shape, strict=True)):
        raise ArgumentError(f"{name}: expected shape {wanted}{hint}, got {raw.shape}")
    if raw.size == 0:
        raise ArgumentError(f"{name}: expected at least one entry, got shape {raw.shape}")
    result = raw.astype(np.float64)
    if finite and not np.isfinite(result).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise ArgumentError(
            f"{name}: every entry must be finite, got {result[where]} at index {where}; "
            "remove or repair such entries first"
        )
    return result


def symmetric(matrix: FloatArray, name: str, letter: str, tolerance: float) -> FloatArray:
    """Return a matrix without the rounding by which it differs from its transpose, relative to its largest entry."""
    if matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"{name}: expected a square matrix, one row and column a class, got {matrix.shape}")
    skew = np.abs(matrix - matrix.T)
    if skew.max() > tolerance * np.abs(matrix).max():
        i, j = (int(x) for x in np.unravel_index(skew.argmax(), skew.shape))
        raise ArgumentError(
            f"{name}: expected a symmetric matrix, got {name}[{i}, {j}] = {matrix[i, j]:.6g} and {name}[{j}, {i}] = "
            f"{matrix[j, i]:.6g}; pass ({letter} + {letter}.T) / 2 if their mean is meant"
        )
    return np.asarray(0.5 * (matrix + matrix.T))


def real(value: Any, name: str) -> float:
    """Return a real number as float. Booleans, strings and NaN are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real | np.ndarray):
        raise ArgumentTypeError(f"{name}: expected a number, got {value!r} of type {type(value).__name__}")
    if isinstance(value, np.ndarray) and (value.ndim != 0 or value.dtype.kind not in "fiu"):
        raise ArgumentTypeError(f"{name}: expected a number, got an array of shape {value.shape}")
    try:
        number = float(value)
    except OverflowError:
        raise ArgumentError(f"{name}: expected a number that float64 holds, up to 1.8e308, got a larger one") from None
    if math.isnan(number):
        raise ArgumentError(f"{name}: expected a number, got NaN")
    return number


def positive(value: Any, name: str, *, why: str = "") -> float:
    """Return a finite number above zero."""
    number = real(value, name)
    if not 0 < number < math.inf:
        reason = f"; {why}" if why else ""
        raise ArgumentError(f"{name}: expected a finite number above 0, got {number}{reason}")
    return number


def share(value: Any, name: str) -> float:
    """Return a number from 0 to below 1."""
    number = nonnegative(value, name)
    if number >= 1:
        raise ArgumentError(f"{name}: expected a number below 1, got {number:g}")
    return number


def nonnegative(value: Any, name: str, *, allow_infinity: bool = False, why: str = "") -> float:
    """Return a number that is zero or above."""
    number = real(value, name)
    if number < 0 or (math.isinf(number) and not allow_infinity):
        allowed = "0 or above (infinity included)" if allow_infinity else "finite and 0 or above"
        reason = f"; {why}" if why else ""
        raise ArgumentError(f"{name}: expected a number {allowed}, got {number}{reason}")
    return number


def integer(value: Any, name: str, *, minimum: int, maximum: int | None = None, why: str = "") -> int:
    """Return a whole number within bounds. Booleans and floats are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise ArgumentTypeError(f"{name}: expected a whole number, got {value!r} of type {type(value).__name__}")
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        reason = f" ({why})" if why else ""
        raise ArgumentError(f"{name}: expected {bounds}{reason}, got {number}")
    return number


def instance(value: Any, name: str, kind: type[Kind], *, what: str = "", why: str = "") -> Kind:
    """Return a value of the kind that is asked for, which is called `what` in the error, else by its class."""
    if not isinstance(value, kind):
        reason = f"; {why}" if why else ""
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        wanted = what or f"{article} {kind.__name__}"
        raise ArgumentTypeError(f"{name}: expected {wanted}, got {type(value).__name__}{reason}")
    return value


def path(value: Any, name: str, *, what: str = "a path") -> Path:
    """Return a path, which may be given as text. Nothing is looked up."""
    if not isinstance(value, str | Path):
        raise ArgumentTypeError(f"{name}: expected {what}, got {value!r}")
    return Path(value)


def mapping(value: Any, name: str, *, what: str = "a mapping") -> dict[str, Any]:
    """Return a mapping as a dictionary of its own."""
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"{name}: expected {what}, got {value!r}")
    return dict(value)


def sequence(value: Any, name: str, what: str) -> list[Any]:
    """Return the items of a collection. A text is not one."""
    try:
        if not isinstance(value, str | bytes):
            return list(value)
    except (TypeError, RuntimeError):  # also of an array or tensor without axes
        pass
    raise ArgumentTypeError(f"{name}: expected {what}, got {value!r}")


def flag(value: Any, name: str) -> bool:
    """Return a bool. Other values, which have a truth of their own, are refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"{name}: expected True or False, got {value!r} of type {type(value).__name__}")
    return bool(value)


def choice(value: Any, name: str, options: Sequence[str]) -> str:
    """Return `value` if it is one of `options`."""
    if not isinstance(value, str) or value not in options:
        meant = did_you_mean(value, options)
        raise ArgumentError(
            f"{name}: expected one of {', '.join(map(repr, options))}, got {value!r}" + (meant and f"; {meant}")
        )
    return str(value)


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` where a known word is near, else nothing."""
    close = difflib.get_close_matches(word, known, n=1) if isinstance(word, str) else []
    return f"did you mean {close[0]!r}?" if close else ""


def class_counts(value: Any, num_classes: int, name: str = "counts") -> IntArray:
    """Return samples per class ``(K,)``: an int means balanced. Every class needs at least one."""
    raw = to_numpy(value, name)
    if raw.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name}: expected whole numbers, got dtype {raw.dtype}; convert with .astype(int)")
    if raw.ndim == 0:
        memory.require_room(name, 1, num_classes, instead="use fewer classes")
        raw = np.full(num_classes, raw)
    if raw.shape != (num_classes,):
        raise ArgumentError(
            f"{name}: expected one number or shape ({num_classes},), one entry a class, got {raw.shape}"
        )
    if (raw < 1).any():
        k = int(np.argmax(raw < 1))
        raise ArgumentError(
            f"{name}: class {k} has {int(raw[k])} samples; every class needs at least one: "
            "leave empty classes out of the encoding and of the counts"
        )
    if raw.sum(dtype=np.float64) > 2.0**53:
        raise ArgumentError(f"{name}: expected at most 2**53 samples in all, got {raw.sum(dtype=np.float64):g}")
    return raw.astype(np.int64)


def class_labels(value: ArrayLike, num_classes: int, name: str = "labels") -> IntArray:
    """Return labels ``(N,)`` as int64, each from 0 to K - 1."""
    raw = to_numpy(value, name)
    if raw.dtype.kind not in "iu" or raw.ndim != 1:
        raise _no_labels(raw, name)
    labels = raw.astype(np.int64)
    unsigned = labels.view(np.uint64)  # in which negative numbers are large
    if labels.size and unsigned.max() >= num_classes:
        i = int(np.argmax(unsigned >= num_classes))
        allowed = f"from 0 to {num_classes - 1}" if num_classes < 2**62 else "of 0 or above"
        raise ArgumentError(
            f"{name}: expected values {allowed}, got {int(raw[i])} at index {i}; "
            "drop such samples (padding or ignore marks such as -100 included) first, or give the mark as ignore_index "
            "where that is taken"
        )
    return labels


def _no_labels(raw: np.ndarray[Any, Any], name: str) -> ArgumentError | ArgumentTypeError:
    """Say what came in place of one whole number a sample, and how to make that of it."""
    kind = raw.dtype.kind
    cure = ""
    if raw.ndim == 2 and raw.shape[1] == 1 and kind in "iuf":
        cure = "; take the only column, labels[:, 0]"
    elif raw.ndim == 2 and kind in "iufb" and len(raw) and (raw >= 0).all():
        rows = raw.astype(np.float64)
        if np.allclose(rows.sum(axis=1), 1.0, atol=1e-2):
            cure = "; they are one-hot, take labels.argmax(1)"
            if not np.allclose(rows.max(axis=1), 1.0):
                cure = (
                    "; they are mixed (mixup) or soft labels, and a sample of two classes is near no class mean: "
                    "measure on data that are not mixed, or take the larger share, labels.argmax(1)"
                )
    if not cure and raw.ndim > 1 and kind in "iu":
        cure = "; for positions whose features are rows, one after the other, take labels.reshape(-1)"
    elif not raw.ndim and kind in "iu":
        cure = "; a batch of one sample has one axis too, labels[None]"
    if cure or kind in "iu":
        return ArgumentError(f"{name}: expected shape (N,), got {raw.shape}{cure}")
    cure = "convert with .astype(int) or .long()"
    if kind in "USO":
        cure = "number the names by classes, labels = np.unique(labels, return_inverse=True)"
    elif kind == "f" and not np.array_equal(raw, np.round(raw)):
        cure = "for targets that are real numbers there is encollapse.measure.regression_collapse"
    return ArgumentTypeError(f"{name}: expected whole numbers, got dtype {raw.dtype}; {cure}")


def require_one_label_a_position(shape: Sequence[int], features: Sequence[int], name: str = "labels") -> None:
    """Raise where labels of positions have as many axes as the features there: one of length 1, or of classes."""
    if len(shape) != len(features) or len(shape) < 3 or shape[0] != features[0]:
        return
    positions = tuple(features[2:]), tuple(features[1:-1])
    second, last = tuple(shape[2:]) in positions, tuple(shape[1:-1]) in positions
    if shape[1] == 1 or shape[-1] == 1:
        cure = f"take the only channel, labels[{':, 0' if shape[1] == 1 else '..., 0'}]"
    elif second or last:
        cure = f"if they are one-hot, take labels.argmax({1 if second else -1})"
    else:
        return
    raise ArgumentError(f"{name}: expected one whole number a position, got shape {tuple(shape)}; {cure}")


def require_same_order(shape: Sequence[int], positions: Sequence[int], where: str, name: str = "labels") -> None:
    """Raise where labels of positions have the axes of the features in another order."""
    if tuple(shape) != tuple(positions) and sorted(shape) == sorted(positions):
        raise ArgumentError(
            f"{name}: of shape {tuple(shape)}, while the features of {where!r} have positions {tuple(positions)}, in "
            "another order; give labels in that order, such as labels.T, or measure a layer in the order of the labels"
        )


def class_priors(value: ArrayLike | None, num_classes: int) -> FloatArray:
    """Return class frequencies ``(K,)`` that sum to one. ``None`` means uniform."""
    if value is None:
        memory.require_room("priors", 1, num_classes, instead="use fewer classes")
        return np.full(num_classes, 1.0 / num_classes)
    result = array(value, "priors", (num_classes,), axes="(num_classes,)")
    if (result < 0).any():
        k = int(np.argmax(result < 0))
        raise ArgumentError(f"priors: expected frequencies of 0 or above, got {result[k]} for class {k}")
    total = float(result.sum())
    if abs(total - 1.0) > 1e-9:
        raise ArgumentError(f"priors: expected frequencies that sum to 1, got a sum of {total}; divide by it")
    return result


def read_only(values: np.ndarray[Any, Any]) -> Any:
    """Mark an array of ours as read-only and return it."""
    values.flags.writeable = False
    return values
