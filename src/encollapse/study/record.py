"""`TrialRecord`: what one trial found, from the worker that ran it through the store to tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from encollapse._internal.json_values import finite, plain, plain_dict, revived
from encollapse.ufm import Problem, Solution
from encollapse.ufm.excess import OF_EXCESS


@dataclass(frozen=True)
class CertificateRecord:
    """The evidence for a prediction, as :class:`encollapse.ufm.Certificate` states it."""

    kind: str
    gap: float | None
    lower_bound: float | None
    holds: bool


@dataclass(frozen=True)
class PredictionRecord:
    """The minimum that a trial is compared with: its value, mean cosine, critical bias decay and certificate."""

    status: str
    message: str
    loss: float
    mean_cosine: float | None
    critical_bias_decay: float | None
    certificate: CertificateRecord

    @staticmethod
    def of(solution: Solution) -> PredictionRecord:
        """Record of a solved problem."""
        known = solution.certificate
        return PredictionRecord(
            solution.status.name,
            solution.status.message,
            solution.loss,
            solution.geometry.mean_cosine(),
            solution.problem.critical_bias_decay() if isinstance(solution.problem, Problem) else None,
            CertificateRecord(known.kind, known.gap, known.lower_bound, known.holds),
        )

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> PredictionRecord:
        """Inverse of :func:`dataclasses.asdict`, for what any release has written."""
        known = values.get("certificate") or {}
        return PredictionRecord(
            values.get("status", ""),
            values.get("message", ""),
            values["loss"],
            values.get("mean_cosine"),
            values.get("critical_bias_decay"),
            CertificateRecord(
                known.get("kind", "none"), known.get("gap"), known.get("lower_bound"), known.get("holds", False)
            ),
        )


EXCESS_COLUMNS = {**OF_EXCESS, "distance": "distance"}
"""What tables call the entries of an excess."""


@dataclass(frozen=True)
class TrialRecord:
    """What a trial found. None stands for what there is not, or what the release that wrote it did not keep.

    Fields have the names that :class:`encollapse.train.Run` has for them.

    Attributes
    ----------
    dataset, encoding : str
        Names.
    data : mapping
        Provenance of the data set.
    settings : mapping
        Exact settings of the training.
    classes : tuple
        Names of the classes.
    counts : tuple of int
        Training samples of each class.
    label_mean : tuple of float
        Mean codeword ``ē``, weighted by the counts.
    status, message : str
        How the training ended.
    converged : bool
        Whether it ended where its objective is stationary.
    stationarity, loss, predicted_loss, relative_excess, seconds : float or None
        As :class:`encollapse.train.Run` has them.
    excess : mapping or None
        Objective above the certified minimum, its parts, what it guarantees of the outputs and their distance.
    decay_time : float or None
        ``τ = Σ learning rate / (1 - momentum) · λ`` over the steps.
    prediction_kind, prediction_note : str
        What the trial is compared with.
    feature_decay, threshold_c, threshold_t : float or None
        ``λ_H``, ``c = √(N λ_W λ_H)`` and ``t = c√K`` of the prediction.
    mean_cosine : float or None
        Mean cosine of the measured class means.
    test_accuracy, test_nc4_agreement, test_balanced_accuracy, test_minority_accuracy : float or None
        On samples that were not trained on.
    missing : mapping
        For values that are None, the reason.
    collapse : mapping
        Metrics of the final collapse, by their names in :class:`encollapse.measure.Collapse`.
    comparison : mapping or None
        Errors against the prediction, by name, with ``missing`` and ``notes``.
    prediction : PredictionRecord or None
        The prediction itself.
    """

    dataset: str = ""
    encoding: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[Any, ...] = ()
    counts: tuple[int, ...] = ()
    label_mean: tuple[float, ...] = ()
    status: str = ""
    message: str = ""
    converged: bool = False
    stationarity: float | None = None
    loss: float | None = None
    predicted_loss: float | None = None
    relative_excess: float | None = None
    excess: Mapping[str, float | None] | None = None
    decay_time: float | None = None
    seconds: float | None = None
    prediction_kind: str = "minimum"
    prediction_note: str = ""
    feature_decay: float | None = None
    threshold_c: float | None = None
    threshold_t: float | None = None
    mean_cosine: float | None = None
    test_accuracy: float | None = None
    test_nc4_agreement: float | None = None
    test_balanced_accuracy: float | None = None
    test_minority_accuracy: float | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    collapse: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] | None = None
    prediction: PredictionRecord | None = None

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrialRecord:
        """Inverse of :meth:`to_dict`, for what any release has written. What else `values` hold is left out."""
        names = {f.name for f in fields(TrialRecord)}
        known = {name: value for name, value in plain(values).items() if name in names}
        # Classes may be called "inf", and so may a text be; numbers stand in these tables and beside them.
        texts = ("classes", "data", "missing", "message", "dataset", "encoding")
        known = {name: value if name in texts else revived(value) for name, value in known.items()}
        for name in ("classes", "counts", "label_mean"):
            known[name] = tuple(known.get(name) or ())
        for name in ("data", "settings", "missing", "collapse"):
            known[name] = known.get(name) or {}
        if known.get("prediction") is not None:
            known["prediction"] = PredictionRecord.from_dict(known["prediction"])
        return TrialRecord(**known)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the prediction as a table of its own."""
        return plain_dict(asdict(self))

    def __getitem__(self, name: str) -> Any:
        """A field by name, as :meth:`to_dict` writes it."""
        return self.to_dict()[name]

    def value(self, name: str) -> float | None:
        """A finite number by name: an error of the comparison, a metric, a field, or a column of the excess."""
        if name in EXCESS_COLUMNS:
            return finite((self.excess or {}).get(EXCESS_COLUMNS[name]))
        for table in (self.comparison or {}, self.collapse):
            if table.get(name) is not None:
                return finite(table[name])
        return finite(getattr(self, name, None))

    @property
    def stopped_early(self) -> bool:
        """Whether the training ended before its objective was stationary, where that can be said."""
        return not self.converged and self.stationarity is not None
