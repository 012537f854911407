"""Prediction against measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from encollapse._typing import FloatArray
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.geometry.balance import balance_residual
from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.geometry.frames import frame_distance

MEANINGS = {
    "gram_error": "|G_meas - G_pred|_F / |G_pred|_F, uncentred class means",
    "shape_error": "|G_meas/|G_meas| - G_pred/|G_pred||_F, free of scale",
    "cosine_error": "largest difference of a cosine between class means",
    "bias_error": "largest difference of a bias entry",
    "classifier_gram_error": "|WWᵀ_meas - WWᵀ_pred|_F / |WWᵀ_pred|_F",
    "outputs_error": "|WM_meas - WM_pred|_F / |WM_pred|_F",
    "balance_residual": "distance of the measured layers from λ_W WᵀW = λ_H Σ n_k m_k m_kᵀ",
}


@dataclass(frozen=True)
class ComparisonRow:
    """One line of a comparison: a value, or the reason why there is none."""

    name: str
    value: float | None
    meaning: str
    reason: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Errors of a measured geometry against a predicted one. Fields are floats, or None with a reason.

    `missing` maps the name of each absent value to the reason; `notes` say what else a reader must know,
    such as classes that were left out.
    """

    gram_error: float | None
    shape_error: float | None
    cosine_error: float | None
    bias_error: float | None
    classifier_gram_error: float | None
    outputs_error: float | None
    balance_residual: float | None
    missing: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[ComparisonRow, ...]:
        """All values in a fixed order, with their meaning."""
        return tuple(
            ComparisonRow(name, getattr(self, name), meaning, self.missing.get(name))
            for name, meaning in MEANINGS.items()
        )

    def worst(self) -> ComparisonRow:
        """Row with the largest value.

        Raises
        ------
        ArgumentError
            If no value could be computed at all.
        """
        known = [row for row in self.rows if row.value is not None]
        if not known:
            raise ArgumentError(f"this comparison holds no value: {self.missing}")
        return max(known, key=lambda row: row.value or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: each error by name, then ``missing`` and ``notes``."""
        values: dict[str, Any] = {row.name: row.value for row in self.rows}
        return values | {"missing": dict(self.missing), "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [f"{'prediction against measurement':<32}{'error':>12}"]
        for row in self.rows:
            value = "-" if row.value is None else f"{row.value:.3e}"
            lines.append(f"{row.name:<32}{value:>12}   {row.meaning if row.reason is None else row.reason}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def compare(predicted: ClassGeometry, measured: ClassGeometry) -> Comparison:
    """Compare a measured geometry with a predicted one.

    Relative errors are relative to the prediction. Classes that either side lacks are left out, and a
    note says so. The balance residual takes ``λ_H/λ_W`` from the prediction.

    Parameters
    ----------
    predicted, measured : ClassGeometry
        For instance ``solve(problem).geometry`` and ``collapse(...).geometry``.

    Raises
    ------
    ArgumentError
        If the numbers of classes, or the lengths of the codewords, differ.
    """
    for name, value in (("predicted", predicted), ("measured", measured)):
        if not isinstance(value, ClassGeometry):
            raise ArgumentTypeError(
                f"{name}: expected a ClassGeometry, got {type(value).__name__}; pass the .geometry of it"
            )
    if predicted.num_classes != measured.num_classes:
        raise ArgumentError(
            f"measured: has {measured.num_classes} classes, the prediction has {predicted.num_classes}; "
            "use one encoding for both"
        )
    return _Comparer(predicted, measured).compare()


class _Comparer:
    """Collects values and the reasons for missing ones."""

    def __init__(self, predicted: ClassGeometry, measured: ClassGeometry) -> None:
        self.predicted, self.measured = predicted, measured
        self.keep = predicted.present & measured.present
        self.missing: dict[str, str] = {}
        self.notes: list[str] = []
        if not self.keep.any():
            raise ArgumentError("measured: shares no class with the prediction; check the labels")
        if not self.keep.all():
            absent = np.flatnonzero(~self.keep).tolist()
            self.notes.append(f"classes without samples left out: {absent}")
        shared = self.keep
        p, m = predicted.counts[shared], measured.counts[shared]
        if not np.array_equal(p * int(m.sum()), m * int(p.sum())):
            self.notes.append("the class frequencies of prediction and measurement differ")

    def compare(self) -> Comparison:
        grams = self._gram(self.predicted), self._gram(self.measured)
        return Comparison(
            gram_error=self._relative("gram_error", *grams),
            shape_error=self._shape(*grams),
            cosine_error=self._cosine(),
            bias_error=self._bias(),
            classifier_gram_error=self._relative(
                "classifier_gram_error", self.predicted.classifier_gram, self.measured.classifier_gram
            ),
            outputs_error=self._relative(
                "outputs_error", self._outputs(self.predicted), self._outputs(self.measured)
            ),
            balance_residual=self._balance(),
            missing=self.missing,
            notes=tuple(self.notes),
        )

    def _gram(self, geometry: ClassGeometry) -> FloatArray:
        return geometry.feature_gram[np.ix_(self.keep, self.keep)]

    def _outputs(self, geometry: ClassGeometry) -> FloatArray | None:
        return None if geometry.class_outputs is None else geometry.class_outputs[:, self.keep]

    def _lack(self, name: str, reason: str) -> None:
        self.missing[name] = reason

    def _relative(self, name: str, predicted: FloatArray | None, measured: FloatArray | None) -> float | None:
        if predicted is None or measured is None:
            return self._lack(name, "no classifier was given")
        if predicted.shape != measured.shape:
            raise ArgumentError(
                f"measured: {name.removesuffix('_error')} has shape {measured.shape}, the prediction's is "
                f"{predicted.shape}; the codewords have different lengths"
            )
        scale = float(np.linalg.norm(predicted))
        error = float(np.linalg.norm(measured - predicted))
        if scale == 0.0:
            if error == 0.0:
                return 0.0
            return self._lack(name, f"the prediction is zero; the measured norm is {error:.3e}")
        return error / scale

    def _shape(self, predicted: FloatArray, measured: FloatArray) -> float | None:
        if not predicted.any() or not measured.any():
            if not predicted.any() and not measured.any():
                return 0.0
            return self._lack("shape_error", "a Gram matrix is zero and has no shape")
        return frame_distance(measured, predicted)

    def _cosine(self) -> float | None:
        index = np.ix_(self.keep, self.keep)
        difference = np.abs(self.measured.cosines()[index] - self.predicted.cosines()[index])
        if np.isnan(difference).all():
            return self._lack("cosine_error", "a class mean is zero, so its angles are undefined")
        if np.isnan(difference).any():
            self.notes.append("classes whose mean is zero are left out of cosine_error")
        return float(np.nanmax(difference))

    def _bias(self) -> float | None:
        predicted, measured = self.predicted.bias, self.measured.bias
        if predicted is None or measured is None:
            return self._lack("bias_error", "no classifier was given")
        if predicted.shape != measured.shape:
            raise ArgumentError(
                f"measured: the bias has {len(measured)} entries, the prediction's has {len(predicted)}"
            )
        return float(np.abs(measured - predicted).max())

    def _balance(self) -> float | None:
        p, m = self.predicted, self.measured
        outputs = self._outputs(m)
        if p.classifier_gram is None or m.classifier_gram is None or outputs is None:
            return self._lack("balance_residual", "no classifier was given")
        energy = float((p.counts * np.nan_to_num(np.diag(p.feature_gram))).sum())
        if energy == 0.0:
            return self._lack("balance_residual", "the prediction is zero, so both sides vanish")
        ratio = float(np.trace(p.classifier_gram)) / energy
        residual = balance_residual(
            self._gram(m), m.classifier_gram, outputs, m.counts[self.keep], ratio=ratio
        )
        if residual is None:
            return self._lack("balance_residual", "the measured classifier or means are zero")
        return residual
