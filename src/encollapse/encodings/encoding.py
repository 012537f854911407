"""The class `Encoding`: the label vector of every class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.shown import Shown
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import files
from encollapse.errors import ArgumentError

_BLOCK_ENTRIES = 2**24  # of a block of distances: 128 MB
_MOST = 2**53  # whole numbers that float64 tells apart


def _rounding(terms: int) -> float:
    """Relative rounding of a sum of products, of entries that round themselves."""
    return (terms + 8) * EPS


def _number(value: Any) -> Any:
    """A number that a file may hold as the word for infinity."""
    return math.inf if isinstance(value, str) and value == "inf" else value


def first_of_nearest(scores: FloatArray, rounding: FloatArray) -> IntArray:
    """Lowest class (N,) whose score (N, K) is within rounding (N,) of the best one."""
    best = scores.max(axis=1)
    least = best - np.where(np.isfinite(rounding), rounding, 0.0)
    return np.asarray((scores >= least[:, None]).argmax(axis=1), dtype=np.int64)


class Encoding(Shown):
    """One codeword for each class: the target vector that the network's output should take.

    Instances are immutable. Structured encodings (:func:`one_hot` and its affine relatives,
    :func:`simplex`) are subclasses which build the dense matrix only when `codewords` is read.

    Parameters
    ----------
    codewords : array_like, shape (code_dim, num_classes)
        Codewords as columns. Finite. Zero and repeated columns are allowed.
    name : str
        What tables and plots call the encoding.
    classes : sequence of str, optional
        Names of the classes, in the order of the columns. Default: ``"0"``, ``"1"``, ...
    designed_for : mapping, optional
        The setting that :func:`encollapse.ufm.design` found the codewords for: ``counts``, ``weight_decay``,
        ``feature_decay`` and ``bias_decay``. A saved file keeps it.

    Raises
    ------
    ArgumentError
        If an entry is not finite, there are fewer than two classes, or `classes` has another length
        or repeats a name.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.Encoding([[1, 0, -1], [0, 2, 0]], name="mine", classes=["a", "b", "c"])
    >>> encoding
    Encoding('mine', num_classes=3, code_dim=2)
    >>> encoding.mean(priors=[0.5, 0.25, 0.25])
    array([0.25, 0.5 ])
    >>> encoding.decode([[0.9, 0.2], [0.1, 1.6]])
    array([0, 1])
    """

    _frozen = False
    _designed_for: dict[str, Any] | None = None
    _family = "dense"
    _kinds: ClassVar[dict[str, type[Encoding]]] = {}
    """Kinds of encodings by the name that files give them. A subclass enters by naming its `family`."""

    def __init_subclass__(cls, *, family: str) -> None:
        cls._family = family
        Encoding._kinds[family] = cls

    def __init__(
        self,
        codewords: ArrayLike,
        *,
        name: str = "custom",
        classes: Sequence[str] | None = None,
        designed_for: Mapping[str, Any] | None = None,
    ) -> None:
        matrix = checks.array(codewords, "codewords", (None, None), axes="(code_dim, num_classes)")
        self._setup(matrix.shape[1], matrix.shape[0], name, classes)
        if designed_for is not None:
            keys = ("counts", "weight_decay", "feature_decay", "bias_decay")
            if not isinstance(designed_for, Mapping) or set(designed_for) != set(keys):
                raise ArgumentError(f"designed_for: expected {', '.join(keys)}, got {designed_for!r}")
            setting = {key: checks.real(_number(designed_for[key]), f"designed_for.{key}") for key in keys[1:]}
            counts = checks.class_counts(designed_for["counts"], matrix.shape[1]).tolist()
            self._designed_for = {"counts": tuple(counts), **setting}
        self._dense: FloatArray | None = checks.read_only(matrix)
        self._frozen = True

    def _setup(self, num_classes: int, code_dim: int, name: str, classes: Sequence[str] | None) -> None:
        self._num_classes = checks.integer(num_classes, "num_classes", minimum=2, maximum=_MOST)
        self._code_dim = checks.integer(code_dim, "code_dim", minimum=1, maximum=_MOST)
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"name: expected a non-empty string, got {name!r}")
        self._name = name
        self._classes = None if classes is None else self._class_names(classes)
        self._dense = None

    def _class_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        if isinstance(classes, str):
            raise ArgumentError(f"classes: expected a sequence of names, got the single string {classes!r}")
        names = tuple(str(c) for c in checks.sequence(classes, "classes", "a sequence of names"))
        if len(names) != self._num_classes:
            raise ArgumentError(f"classes: expected {self._num_classes} names, got {len(names)}")
        if len(set(names)) != len(names):
            repeated = next(c for c in names if names.count(c) > 1)
            raise ArgumentError(f"classes: expected distinct names, got {repeated!r} more than once")
        return names

    def __setattr__(self, key: str, value: Any) -> None:
        if self._frozen and key != "_dense":
            raise AttributeError(f"Encoding is immutable; cannot set {key!r}")
        super().__setattr__(key, value)

    def __repr__(self) -> str:
        return f"Encoding({self._name!r}, num_classes={self._num_classes}, code_dim={self._code_dim})"

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self._num_classes

    @property
    def code_dim(self) -> int:
        """Length q of a codeword."""
        return self._code_dim

    @property
    def name(self) -> str:
        """What tables and plots call the encoding."""
        return self._name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the columns."""
        return self._classes or self._numbers()

    @property
    def designed_for(self) -> Mapping[str, Any] | None:
        """Counts and decays that :func:`encollapse.ufm.design` found the codewords for, or None for other encodings."""
        return None if self._designed_for is None else MappingProxyType(self._designed_for)

    def _numbers(self) -> tuple[str, ...]:
        memory.require_room("classes", 8, self._num_classes, instead="number the classes yourself, from 0 on")
        return tuple(str(k) for k in range(self._num_classes))

    @property
    def codewords(self) -> FloatArray:
        """Codewords as columns, shape (code_dim, num_classes), float64, read-only.

        Raises
        ------
        MemoryLimitError
            If a structured encoding would need more than the memory limit for it.
        """
        if self._dense is None:
            self._refuse_above_limit("codewords", self._code_dim)
            self._dense = checks.read_only(self._build())
        return self._dense

    def _refuse_above_limit(self, what: str, rows: int) -> None:
        memory.require_room(what, rows, self._num_classes, instead="encode, decode, mean and the solver do without it")

    def _build(self) -> FloatArray:
        raise NotImplementedError

    @property
    def largest_entry(self) -> float:
        """Largest absolute entry of the codewords, or a bound of it."""
        return float(np.abs(self.codewords).max())

    def mean(self, priors: ArrayLike | None = None) -> FloatArray:
        """Mean codeword ``Σ π_k e_k``, shape (code_dim,). `priors` (num_classes,) default to uniform."""
        return self._combine(checks.class_priors(priors, self._num_classes))

    def combine(self, weights: ArrayLike) -> FloatArray:
        """Weighted sum of the codewords, ``E w``: (num_classes,) -> (code_dim,)."""
        return self._combine(checks.array(weights, "weights", (self._num_classes,), axes="(num_classes,)"))

    def _combine(self, weights: FloatArray) -> FloatArray:
        return np.asarray(self.codewords @ weights)

    def centered(self, priors: ArrayLike | None = None) -> Encoding:
        """Return the encoding with its mean codeword (under `priors`) taken off every codeword.

        Structured encodings stay structured.
        """
        centered = self.codewords - self.mean(priors)[:, None]
        return Encoding(centered, name=f"{self._name} (centered)", classes=self._classes)

    def gram(self) -> FloatArray:
        """Inner products of the codewords, shape (num_classes, num_classes)."""
        return np.asarray(self.codewords.T @ self.codewords)

    def encode(self, labels: ArrayLike) -> FloatArray:
        """Codewords of labels, one row a sample: (N,) -> (N, code_dim).

        Raises
        ------
        ArgumentError
            If a label is negative or not below ``num_classes``.
        ArgumentTypeError
            If the labels are not whole numbers.
        MemoryLimitError
            If the codewords of all of them are above the memory limit.
        """
        numbers = checks.class_labels(labels, self._num_classes)
        memory.require_room("labels", len(numbers), self._code_dim, instead="encode fewer labels at a time")
        return self._encode(numbers)

    def _encode(self, labels: IntArray) -> FloatArray:
        return np.asarray(self.codewords.T[labels])

    def decode(self, outputs: ArrayLike, *, loss: str = "mse") -> IntArray:
        """Class whose loss exceeds its least value the least, for each output row: (N, code_dim) -> (N,).

        For squared error that is the class of the nearest codeword (Euclidean). For cross-entropy of logits o it is
        the codeword nearest to ``p = softmax(o)`` in divergence, ``argmin_k Σ_i e_ki log(e_ki/p_i)``, which is the
        largest ``<e_k, o>`` plus the entropy of ``e_k``. Cross-entropy itself would not do where entropies differ:
        outputs that fit a soft codeword perfectly may have a lower one to a harder codeword.

        Ties, those within rounding too, go to the lowest class. An empty batch, shape (0, code_dim), gives an
        empty result.

        Parameters
        ----------
        outputs : (N, code_dim)
            Outputs of the classifier, one row a sample.
        loss : {"mse", "cross_entropy"}
            What it was trained with.

        Raises
        ------
        ArgumentError
            If the loss is cross-entropy and the codewords are no distributions.
        """
        entropic = checks.choice(loss, "loss", ("mse", "cross_entropy")) == "cross_entropy"
        raw = checks.to_numpy(outputs, "outputs")
        if raw.shape == (0, self._code_dim):
            return np.empty(0, dtype=np.int64)
        rows = checks.array(raw, "outputs", (None, self._code_dim), axes="(num_samples, code_dim)")
        step = max(1, _BLOCK_ENTRIES // self._num_classes)
        decide = self._decode_logits if entropic else self._decode
        return np.concatenate([decide(rows[i : i + step]) for i in range(0, len(rows), step)])

    def _decode(self, outputs: FloatArray, noise: FloatArray | float = 0.0) -> IntArray:
        # |o - e|² = |o|² - 2 <o, e> + |e|², and |o|² is the same for every class. About a common center, for codewords
        # far from zero beside their distances would lose these to rounding.
        center = self.codewords.mean(axis=1)
        centered = self.codewords - center[:, None]
        squares, moved = np.einsum("qk,qk->k", centered, centered), outputs - center
        size = float(np.sqrt(squares.max()))
        reach = np.linalg.norm(moved, axis=1) + size
        return first_of_nearest(moved @ centered - 0.5 * squares, size * (_rounding(self._code_dim) * reach + noise))

    def _decode_logits(self, outputs: FloatArray) -> IntArray:
        codewords = self.codewords
        if codewords.min() < 0 or not np.allclose(codewords.sum(axis=0), 1.0, rtol=0, atol=1e-9):
            raise ArgumentError(
                f"loss: codewords of {self._name!r} are no distributions, so cross-entropy decides nothing; use 'mse'"
            )
        entropies = -np.sum(codewords * np.log(np.where(codewords > 0, codewords, 1.0)), axis=0)
        rounding = _rounding(self._code_dim) * (np.abs(outputs).max(axis=1) + entropies.max())
        return first_of_nearest(outputs @ codewords + entropies, rounding)

    def save(self, path: str | Path) -> Path:
        """Write the encoding to a ``.json`` or ``.npz`` file (by suffix). Numbers survive exactly.

        The file appears whole or not at all. See :meth:`load`.

        Parameters
        ----------
        path : str or path
            File to write. Its folder is made where it is not there.

        Returns
        -------
        Path

        Raises
        ------
        ArgumentError, WriteError
            If the suffix is another one, or the file cannot be written.

        Examples
        --------
        >>> import encollapse as ec
        >>> ec.encodings.simplex(5).save("simplex.json").name
        'simplex.json'
        >>> ec.encodings.Encoding.load("simplex.json")
        Encoding('simplex', num_classes=5, code_dim=4)
        """
        return files.write(path, self._record())

    @staticmethod
    def load(path: str | Path) -> Encoding:
        """Read an encoding written by :meth:`save`. Nothing in the file is ever executed.

        Parameters
        ----------
        path : str or path
            A ``.json`` or ``.npz`` file.

        Returns
        -------
        Encoding
            Of the kind that was saved.

        Raises
        ------
        FileNotFoundError, FileFormatError
            If there is no such file, or it is no encoding.
        """
        return files.read(path, Encoding._from_record)

    def _record(self) -> dict[str, Any]:
        named = {} if self._classes in (None, self._numbers()) else {"classes": list(self.classes)}
        return {"name": self._name} | named | {"family": self._family} | self._entries()

    @staticmethod
    def _from_record(record: dict[str, Any]) -> Encoding:
        kind = Encoding._kinds.get(record["family"])
        if kind is None:
            raise ArgumentError(f"the family {record['family']!r} is unknown to this release")
        return kind._from_entries(record, record.get("classes"))

    def _entries(self) -> dict[str, Any]:
        """What a file holds of this kind beside the names, as plain values."""
        if self._designed_for is None:
            return {"codewords": self.codewords.tolist()}
        setting = {**self._designed_for, "counts": list(self._designed_for["counts"])}
        if math.isinf(setting["bias_decay"]):
            setting["bias_decay"] = "inf"
        return {"designed_for": setting, "codewords": self.codewords.tolist()}

    @classmethod
    def _from_entries(cls, record: dict[str, Any], classes: Sequence[str] | None) -> Encoding:
        """Make the encoding of a record's entries. An entry that is missing may raise KeyError."""
        setting = record.get("designed_for")
        return Encoding(record["codewords"], name=record["name"], classes=classes, designed_for=setting)


Encoding._kinds[Encoding._family] = Encoding
