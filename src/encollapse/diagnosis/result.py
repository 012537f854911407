"""`Diagnosis`: the law of a training, its prediction, the measurement, and what is left between them."""

from __future__ import annotations

import importlib
import textwrap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from encollapse._internal.json_values import plain_dict
from encollapse._internal.shown import Shown
from encollapse.diagnosis.decay_time import DecayTime
from encollapse.diagnosis.laws.law import Condition
from encollapse.diagnosis.verdict import verdict
from encollapse.geometry import Comparison
from encollapse.measure.result import Collapse
from encollapse.ufm import Excess, Solution


@dataclass(frozen=True, eq=False)
class Diagnosis(Shown):
    """What :func:`encollapse.diagnose` found.

    Attributes
    ----------
    law : {"batch_norm", "linear_tail", "sample_norm", "explicit_feature_decay", "none"}
        The law by which this training prices its features.
    reason : str
        Why this law, or why none, in one sentence.
    conditions : tuple of Condition
        The premises of the law, each with whether it holds, fails or had to be assumed.
    problem : Problem or TailProblem or None
        What the training minimizes, on the scale of theory.
    prediction : Solution or None
        The minimum of that problem, with its certificate.
    collapse : Collapse
        The measurement of the network.
    comparison : Comparison or None
        Measurement against prediction.
    excess : Excess or None
        How far the network's own loss is above the minimum, in parts.
    decay_time : DecayTime or None
        How long the training has lasted in units of weight decay.
    head : str
        The module that was taken for the classifier.
    loss : str
        How the loss was read.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=1e-2)
    >>> found = ec.diagnose(network, [(torch.randn(30, 5), torch.arange(30) % 3)], optimizer)
    >>> found.law, found.head, found.loss
    ('none', '2', 'cross_entropy, mean over the samples')
    """

    law: str
    reason: str
    conditions: tuple[Condition, ...]
    problem: Any
    prediction: Solution | None
    collapse: Collapse
    comparison: Comparison | None
    excess: Excess | None
    decay_time: DecayTime | None
    head: str
    loss: str
    decays: str = ""
    missing: dict[str, str] = field(default_factory=dict)

    @cached_property
    def verdict(self) -> str:
        """How far the network is and what is left, in sentences."""
        return verdict(self)

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int = 100) -> str:
        """The whole diagnosis as text: the verdict first, then the law with its conditions, then the numbers.

        Parameters
        ----------
        width : int
            Columns.

        Returns
        -------
        str
            Lines of at most that many columns.
        """
        heads = [
            ("head", f"{self.head}: {self.collapse.num_classes} classes, {self.collapse.num_samples} samples"),
            ("loss", self.loss),
            ("decay", self.decays),
            ("law", f"{self.law}: {self.reason}"),
            *(("", f"{c.status}: {c.text}" + (f" ({c.detail})" if c.detail else "")) for c in self.conditions),
        ]
        if self.prediction is not None:
            heads.append(("prediction", str(self.prediction.certificate)))
        lines = [textwrap.fill(self.verdict, width), ""]
        lines += [
            textwrap.fill(words, width, initial_indent=f"{name:<12}", subsequent_indent=" " * 14)
            for name, words in heads
        ]
        lines.append("")
        for name, value in self.numbers():
            lines.append(f"{name:<27} {value}")
        lines += [
            textwrap.fill(f"{name:<27} none: {why}", width, subsequent_indent=" " * 28)
            for name, why in self.missing.items()
        ]
        return "\n".join(lines)

    def numbers(self) -> list[tuple[str, str]]:
        """Every number of the text, with its name."""
        found = [("NC1 (trace ratio)", self.collapse.nc1_trace_ratio)]
        if self.comparison is not None:
            found += [(row.name, row.value) for row in self.comparison.rows]
        if self.excess is not None:
            e = self.excess.shown()
            found += [
                ("excess over the minimum", e.total),
                ("  layers unbalanced", e.unbalanced),
                ("  within classes", e.within),
                ("  between classes", e.between),
                ("guarantee on the outputs", e.guarantee),
            ]
        if self.decay_time is not None:
            found.append(("decay time", self.decay_time.spent))
        return [(name, "-" if value is None else f"{value:.4g}") for name, value in found]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        certificate = None if self.prediction is None else self.prediction.certificate
        found: dict[str, Any] = {
            "law": self.law,
            "reason": self.reason,
            "verdict": self.verdict,
            "head": self.head,
            "loss": self.loss,
            "decays": self.decays,
            "conditions": [vars(condition) for condition in self.conditions],
            "prediction": None
            if self.prediction is None or certificate is None
            else {
                "loss": self.prediction.loss,
                "rank": self.prediction.rank,
                "certificate": certificate.kind,
                "gap": certificate.gap,
                "bias": self.prediction.bias,
            },
            "problem": None if self.problem is None else repr(self.problem),
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "excess": None if self.excess is None else self.excess.to_dict(),
            "decay_time": None if self.decay_time is None else vars(self.decay_time),
            "collapse": self.collapse.to_dict(),
            "missing": self.missing,
        }
        return plain_dict(found)

    def to_html(self, path: str | Path) -> Path:
        """Write a self-contained page.

        Parameters
        ----------
        path : path
            The file to write.

        Returns
        -------
        Path
            The file.
        """
        # The room above draws. It is looked up by name, for imports run one way.
        found: Path = importlib.import_module("encollapse.report.diagnosis_page").diagnosis_page(self, path)
        return found
