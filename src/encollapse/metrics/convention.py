"""Conventions: the choices on which published collapse metrics differ, as named, documented options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError, Undefined
from encollapse.metrics.statistics import Averaging


@dataclass(frozen=True)
class Convention:
    """What the metrics average over and divide by.

    Parameters
    ----------
    name : str
        What tables call the convention.
    averaging : {"sample", "class"}
        ``"sample"`` weights class k by ``n_k/N`` in the global mean, in ``Σ_B`` and in ``Σ_W``, so that
        ``Σ_T = Σ_W + Σ_B``. ``"class"`` weights all present classes alike. They agree on balanced data.
    nc1_per_class : bool
        Divide ``tr(Σ_W Σ_B⁺)`` by the number of present classes.
    center_weight : bool
        Take the mean row off the weight before the NC3 metrics.
    within : {"sample", "class"}, optional
        Weights of the classes in ``Σ_W``, where a code weights them unlike its global mean. Default: as
        `averaging`.
    between : {"sample", "class"}, optional
        Weights of the classes in ``Σ_B`` for NC1 by pinv and by the ratio of traces, where a code weights
        them unlike its global mean. Default: as `averaging`.
    between_per_dim : bool
        Divide the sum in ``Σ_B`` by the feature dimension d in place of K, in NC1.
    deviation : {"population", "sample"}
        Standard deviations over classes or pairs divide by their number n, or by n - 1 as ``torch.std`` does.
    squared_duality : bool
        Square the distance `nc3_self_duality`.
    halved_cdnv : bool
        CDNV has ``(v_k + v_l)/2`` above the squared distance, or ``v_k + v_l`` where this is False.
    relative_row_sum : bool
        Divide ``|Wᵀ1|`` by ``|W|``.

    Raises
    ------
    ArgumentError
        If an averaging or a deviation is unknown.

    Examples
    --------
    >>> import encollapse as ec
    >>> mine = ec.metrics.Convention("mine", averaging="class", center_weight=True)
    >>> mine.within_averaging
    'class'
    """

    name: str
    averaging: Averaging = "sample"
    nc1_per_class: bool = True
    center_weight: bool = False
    between: Averaging | None = None
    between_per_dim: bool = False
    within: Averaging | None = None
    deviation: Literal["population", "sample"] = "population"
    squared_duality: bool = False
    halved_cdnv: bool = True
    relative_row_sum: bool = True

    def __post_init__(self) -> None:
        checks.choice(self.averaging, "averaging", ("sample", "class"))
        checks.choice(self.deviation, "deviation", ("population", "sample"))
        for name in ("within", "between"):
            if getattr(self, name) is not None:
                checks.choice(getattr(self, name), name, ("sample", "class"))

    @property
    def within_averaging(self) -> Averaging:
        """Weights of the classes in ``Σ_W``."""
        return self.within or self.averaging

    def standard_deviation(self, of_population: float, count: int) -> float:
        """Return the standard deviation of `count` values, given that which divides by their number.

        Raises
        ------
        Undefined
            If there is one value and the deviation is that of a sample.
        """
        if self.deviation == "population":
            return of_population
        if count < 2:
            raise Undefined("a single value has no sample standard deviation")
        return of_population * math.sqrt(count / (count - 1))


DEFAULT = Convention("default")

PRESETS: dict[str, Convention] = {
    preset.name: preset
    for preset in (
        DEFAULT,
        Convention("class-averaged", averaging="class"),
        Convention("papyan2020", averaging="class"),
        Convention("zhu2021", between="class"),
        Convention("zhou2022", between="class", center_weight=True),
        Convention("wu2024", averaging="class", within="sample"),
        Convention(
            "papyan2020-code",
            averaging="class",
            within="sample",
            nc1_per_class=False,
            deviation="sample",
            squared_duality=True,
            relative_row_sum=False,
        ),
        Convention("luthra2026", halved_cdnv=False),
    )
}
"""Conventions that can be asked for by name. What the published ones choose is in ``docs/measuring.md``."""


def as_convention(value: str | Convention) -> Convention:
    """Return the preset of that name, or the convention itself.

    Parameters
    ----------
    value : str or Convention
        A name in `PRESETS`, or a convention.

    Returns
    -------
    Convention
        The convention.

    Raises
    ------
    ArgumentError
        If no preset has that name. The text lists them.
    ArgumentTypeError
        If it is neither.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.metrics.as_convention("papyan2020").averaging
    'class'
    """
    if isinstance(value, Convention):
        return value
    if not isinstance(value, str):
        raise ArgumentTypeError(f"convention: expected a name or a Convention, got {value!r}")
    if value not in PRESETS:
        meant = checks.did_you_mean(value, PRESETS)
        raise ArgumentError(
            f"convention: none is called {value!r}; {meant and meant + ' '}there are {', '.join(PRESETS)}"
        )
    return PRESETS[value]
