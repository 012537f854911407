"""Evidence that a solution is what it claims to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from encollapse._internal.format import short
from encollapse._internal.rounding import TINY

CertificateKind = Literal["duality_gap", "theorem", "stationary", "none"]

RELATIVE_TOLERANCE = 1e-10
"""Relative duality gap up to which a numerical certificate holds."""


@dataclass(frozen=True)
class Certificate:
    """Evidence for a solution, with its strength.

    Attributes
    ----------
    kind : {"duality_gap", "theorem", "stationary", "none"}
        ``duality_gap``: a lower bound of the global minimum was computed. ``theorem``: a closed form whose
        conditions were checked. ``stationary``: first-order conditions only. ``none``: no evidence.
    gap : float
        Loss minus `lower_bound`, in units of the loss, not below 0.
    relative_gap : float
        `gap` divided by the loss (by its rounding level where the loss vanishes).
    lower_bound : float
        A value that no choice of features, classifier and bias goes below.
    holds : bool
        Whether the evidence proves what the kind says: a relative gap of at most ``RELATIVE_TOLERANCE`` (1e-8 where
        descent closes the gap: cross-entropy, non-negative features), or a gradient that vanishes.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> certificate = ec.ufm.solve(problem).certificate
    >>> certificate.kind, certificate.holds, certificate.relative_gap < 1e-10
    ('duality_gap', True, True)
    """

    kind: CertificateKind
    gap: float
    relative_gap: float
    lower_bound: float
    holds: bool

    def in_units(self, unit: float) -> Certificate:
        """Return the same evidence with loss and bound multiplied by `unit`."""
        return replace(self, gap=self.gap * unit, lower_bound=self.lower_bound * unit)

    def or_stationary(self, at_rest: bool) -> Certificate:
        """Return the evidence where it proves the minimum, else that of a stationary point, if it is `at_rest`."""
        return self if self.holds else replace(self, kind="stationary", holds=at_rest)

    def __str__(self) -> str:
        if self.kind == "theorem" and self.holds:
            return f"global minimum, by a theorem whose conditions hold (computed gap {short(self.relative_gap)})"
        if self.kind == "stationary" and self.holds:
            return f"stationary point; the global minimum is at most a share of {short(self.relative_gap)} lower"
        if self.kind == "duality_gap":
            verdict = "global minimum, proved" if self.holds else "NOT proved"
            return f"{verdict}: relative duality gap {short(self.relative_gap)}"
        return f"{self.kind}: holds={self.holds}, gap to the lower bound {self.gap:.3e}"


def certify(
    loss: float, lower_bound: float, rounding: float = 0.0, *, tolerance: float = RELATIVE_TOLERANCE
) -> Certificate:
    """Make the certificate of a loss and a lower bound. `rounding` is the level at which a loss counts as zero."""
    gap = loss - lower_bound
    relative = gap / max(loss, rounding, TINY)
    return Certificate(
        kind="duality_gap", gap=gap, relative_gap=relative, lower_bound=lower_bound, holds=relative <= tolerance
    )
