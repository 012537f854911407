"""The design view: a geometry that is wanted, the encoding that leads there, and the proof."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from encollapse import encodings, ufm
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.errors import EncollapseWarning
from encollapse.explorer.state.fields import FieldError, JsonList, Square, read
from encollapse.explorer.state.matrix_input import MOST_CLASSES, as_text
from encollapse.explorer.state.problem import counts_of, refusals
from encollapse.explorer.state.state import State
from encollapse.explorer.views import snippets
from encollapse.explorer.views.solution import certificate, frame, numbers, packed
from encollapse.geometry import ClassGeometry, compare, orthogonal_gram, simplex_etf_gram

_RENAMED = {"target_gram": "similarity", "like": "size", "code_dim": "similarity"}


_ROUNDING = 1e-9  # eigenvalues nearer to zero than this are rounding of what was drawn


def target_of(state: State) -> tuple[FloatArray, tuple[str, ...], list[str]]:
    """Gram matrix (K, K) that is asked for, the names of the classes, and what the user should know.

    Similarities that no vectors have are replaced by the nearest that some have :cite:p:`higham1988`.

    Raises
    ------
    FieldError
        If the tree or the matrix cannot be used.
    """
    if state.target in ("simplex", "orthogonal"):
        make = simplex_etf_gram if state.target == "simplex" else orthogonal_gram
        return make(state.classes), _numbers(state.classes), []
    if state.target == "hierarchy":
        with refusals():
            made = encodings.hierarchical(_tree(state))
        _require_few(made.num_classes, "tree")
        return made.gram(), made.classes, []
    if not state.similarity.strip():
        steps = np.abs(np.subtract.outer(np.arange(state.classes), np.arange(state.classes)))
        return 0.6**steps, _numbers(state.classes), []
    gram = read("similarity", Square, state.similarity)
    _require_few(len(gram), "similarity")
    nearest, notes = _possible(gram)
    return nearest, _numbers(len(gram)), notes


def _possible(wanted: FloatArray) -> tuple[FloatArray, list[str]]:
    """Nearest positive semidefinite matrix, with a note where it is another one."""
    if not np.allclose(wanted, wanted.T, rtol=0, atol=1e-8 * float(np.abs(wanted).max())):
        raise FieldError("similarity", "the matrix is not symmetric; entry (k, l) and entry (l, k) have to agree")
    values, vectors = np.linalg.eigh((wanted + wanted.T) / 2)
    if values[-1] <= 0:
        raise FieldError("similarity", "no class means have these inner products; the diagonal has to be positive")
    if values[0] >= -_ROUNDING * values[-1]:
        return wanted, []
    nearest = (vectors * np.clip(values, 0, None)) @ vectors.T
    moved = float(np.abs(nearest - wanted).max())
    return nearest, [
        "No vectors have all of these inner products at once; the nearest ones are used, in which an entry moves by "
        f"{moved:.2g}."
    ]


def _numbers(num_classes: int) -> tuple[str, ...]:
    return tuple(str(k) for k in range(num_classes))


def _tree(state: State) -> Any:
    if not state.tree.strip():
        return encodings.registry.ENCODINGS["hierarchical"].example_for(state.classes)["tree"]
    return read("tree", JsonList, state.tree)


def _require_few(num_classes: int, field: str) -> None:
    if not 2 <= num_classes <= MOST_CLASSES:
        raise FieldError(field, f"expected 2 to {MOST_CLASSES} classes, got {num_classes}")


def design(state: State, previous: FloatArray | None = None) -> dict[str, Any]:
    """Design the encoding for the target of a state and solve it again.

    Raises
    ------
    FieldError
        If the target or a setting cannot be used.
    """
    wanted, names, notes = target_of(state)
    counts = counts_of(state, len(wanted))
    made, wanted, warned = _designed(state, wanted, counts, names)
    found = _solved(state, made, counts)
    with refusals():
        weight, means, _ = found.parameters()
    target = ClassGeometry(wanted, counts)
    reached = compare(target, found)
    return {
        "classes": len(wanted),
        "names": list(names),
        "counts": counts.tolist(),
        "target": packed(wanted),
        "target_cosines": packed(target.cosines()),
        "reached_cosines": packed(found.geometry.cosines()),
        "codewords": packed(made.codewords),
        "lengths": np.linalg.norm(made.codewords, axis=0).tolist(),
        "frame": frame(found, weight, means, state, previous),
        "gram_error": reached.gram_error,
        "cosine_error": reached.cosine_error,
        "one_hot": _one_hot(state, counts, wanted),
        "certificate": certificate(found),
        "numbers": numbers(found),
        "notes": notes + warned,
        "matrix": as_text(made.codewords),
        "file": snippets.saved(made),
    }


def _designed(
    state: State, wanted: FloatArray, counts: IntArray, names: tuple[str, ...]
) -> tuple[Encoding, FloatArray, list[str]]:
    decays: dict[str, Any] = {"weight_decay": state.weight_decay, "feature_decay": state.feature_decay}
    with refusals(_RENAMED), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EncollapseWarning)
        if state.size != "as_given":
            wanted = ufm.scale_target(wanted, counts, like=state.size, **decays)
        made = ufm.design(wanted, counts, bias_decay=state.bias_decay, classes=names, **decays)
    return made, wanted, [str(one.message).partition(": ")[2] for one in caught]


def _solved(state: State, encoding: Encoding, counts: IntArray) -> ufm.Solution:
    decays = {name: getattr(state, name) for name in ("weight_decay", "feature_decay", "bias_decay")}
    with refusals():
        return ufm.solve(ufm.Problem(encoding, counts, **decays), throw=False)


def _one_hot(state: State, counts: IntArray, wanted: FloatArray) -> float | None:
    """How far one-hot labels end from the same target, as a distance of shapes, or None where they learn nothing."""
    found = _solved(state, encodings.one_hot(len(counts)), counts)
    return None if found.rank == 0 else found.geometry.distance(wanted)
