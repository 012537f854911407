"""The registry: what there is to know of a metric stands once, beside the function that computes it."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast, get_type_hints

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.metrics.convention import Convention, as_convention

F = TypeVar("F", bound=Callable[..., float])


class MetricFamily(NamedTuple):
    """A question that several metrics ask: a title for groups of them, and a sentence."""

    title: str
    question: str


FAMILIES: Mapping[str, MetricFamily] = MappingProxyType(
    {
        "nc1": MetricFamily(
            "Within-class spread (NC1)",
            "Spread within the classes against the spread between them; 0 when each class is one point.",
        ),
        "nc2": MetricFamily("Frame of the class means (NC2)", "How the class means stand to each other."),
        "nc3": MetricFamily("Classifier against class means (NC3)", "How the classifier stands to the class means."),
        "nc4": MetricFamily("Decisions (NC4)", "What the classifier decides, and what the nearest class mean would."),
        "bias": MetricFamily(
            "Bias and labels", "What of the label mean neither the bias nor the mean output takes up."
        ),
    }
)

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "galanti2022": "Galanti, György & Hutter 2022",
        "han2022": "Han, Papyan & Donoho 2022",
        "jiang2024": "Jiang et al. 2024",
        "liu2023": "Liu et al. 2023",
        "massion2026": "Massion, Makhlouf & Massart 2026",
        "papyan2020": "Papyan, Han & Donoho 2020",
        "roy2007": "Roy & Vetterli 2007",
        "tirer2023": "Tirer, Huang & Niles-Weed 2023",
        "wu2024": "Wu & Papyan 2024",
        "xu2023": "Xu & Liu 2023",
        "zhu2021": "Zhu et al. 2021",
    }
)
"""Names of the sources by their keys in ``docs/references.bib``, for pages that have no bibliography."""

_ARGUMENTS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "statistics": ("ClassStatistics\n    Moments of the features.", ()),
        "weight": ("(q, d) array\n    Weight of the linear classifier.", ("weight",)),
        "bias": ("(q,) array\n    Its bias.", ("bias",)),
        "mean_codeword": ("(q,) array\n    Mean codeword ē under the measured class frequencies.", ("encoding",)),
        "decomposition": ("MseDecomposition\n    The split of the squared error.", ("weight", "bias", "encoding")),
        "decisions": ("Decisions\n    Counts of decisions.", ("decisions",)),
        "loss": ('{"mse", "cross_entropy"}, optional\n    What the classifier was trained with.', ()),
        "mean_softmax": ("(q,) array, optional\n    Mean over the samples of ``softmax(W h + b)``.", ()),
        "convention": ("Convention, optional\n    Averaging and scaling choices.", ()),
    }
)
"""What a metric may be a function of: the description, and what the user must have given for it."""

_SHAPES = {"weight": "(q, d)", "bias": "(q,)", "mean_codeword": "(q,)"}

_EXAMPLE = {
    "statistics": """features = [[3.0, 0, 0], [5, 0, 0], [0, 3, 1], [0, 5, 1], [0, 0, 2], [1, 0, 4]]
statistics = ec.metrics.ClassStatistics.from_features(features, [0, 0, 1, 1, 2, 2])""",
    "weight": "weight = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.5, 2]])",
    "bias": "bias = np.array([0.1, 0.2, 0.3])",
    "mean_codeword": "mean_codeword = np.full(3, 1 / 3)",
    "decomposition": "decomposition = ec.metrics.mse_decomposition(statistics, weight, bias, np.eye(3))",
    "decisions": "decisions = ec.metrics.Decisions.of([0, 0, 1, 2], [0, 0, 1, 1], [0, 1, 1, 1])",
}


@dataclass(frozen=True)
class Metric:
    """A metric: its names, what it means, where it is from, and the function.

    Parameters
    ----------
    name : str
        Field of :class:`encollapse.measure.Collapse`, or key of its ``details``.
    function : callable
        Of a :class:`ClassStatistics` and what else it needs.
    label : str
        A few words, for the title of a small panel.
    meaning : str
        A line of plain text, for tables.
    formula : str
        The definition in LaTeX.
    reference : str
        Keys of the bibliography, separated by commas, or empty where there is no source.
    ideal : float or None
        Value at collapse, to which lower or higher values come as networks train, or None where there is none.
    range : tuple of two floats
        Least and largest value. The largest may be infinite.
    family : str
        Key of `FAMILIES`.
    detail : bool
        Whether it is computed only when asked for.

    Examples
    --------
    >>> import encollapse as ec
    >>> metric = ec.metrics.METRICS["nc3_alignment"]
    >>> metric.needs, metric.ideal, metric.better, metric.citation
    (('weight',), 0.0, 'lower', 'Zhu et al. 2021')
    """

    name: str
    function: Callable[..., float]
    label: str
    meaning: str
    formula: str
    reference: str = ""
    ideal: float | None = 0.0
    range: tuple[float, float] = (0.0, math.inf)
    family: str = "nc1"
    detail: bool = False

    @functools.cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of what the function is computed from."""
        return tuple(name for name in inspect.signature(self.function).parameters if name in _ARGUMENTS)

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be known besides the features: some of weight, bias, encoding and decisions."""
        return tuple(dict.fromkeys(need for name in self.arguments for need in _ARGUMENTS[name][1]))

    @property
    def better(self) -> str | None:
        """``"lower"`` or ``"higher"`` where collapse is at an end of the range, else None."""
        return None if self.ideal is None else {self.range[0]: "lower", self.range[1]: "higher"}.get(self.ideal)

    @property
    def citation(self) -> str:
        """The source in words, or empty where there is none."""
        return "; ".join(SOURCES[key] for key in self.reference.split(",") if key)


_REGISTERED: dict[str, Metric] = {}
METRICS: Mapping[str, Metric] = MappingProxyType(_REGISTERED)
"""Every metric by its name. Those that are no `detail` are fields of ``Collapse``, in this order."""


def metric(
    label: str, meaning: str, formula: str, reference: str = "", *, name: str = "", example: str = "", **more: Any
) -> Callable[[F], F]:
    """Register a function as a metric, and complete its docstring from what the registry knows.

    Parameters
    ----------
    label, meaning, formula, reference, **more
        As for :class:`Metric`.
    name : str, optional
        Of the metric. Default: that of the function.
    example : str, optional
        What the function gives for the data of the example, rounded to four digits.
    """

    def register(function: F) -> F:
        entry = Metric(name or function.__name__, function, label, meaning, formula, reference, **more)
        if entry.name in _REGISTERED:
            raise ValueError(f"metric: {entry.name!r} is registered already")
        _REGISTERED[entry.name] = entry
        function.__doc__ = _documented(entry, example)
        return _checked(function)

    return register


def _checked(function: F) -> F:
    """The function for everyone, which looks at its arguments. Tables call the one inside with values of their own."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def public(*given: Any, **named: Any) -> float:
        bound = signature.bind(*given, **named)
        hints, known = get_type_hints(function), bound.arguments
        dim = getattr(known.get("statistics"), "feature_dim", None)
        for name, value in known.items():
            if name in _SHAPES:
                known[name] = checks.array(
                    value, name, (None, dim) if name == "weight" else (None,), axes=_SHAPES[name]
                )
            elif hints.get(name) is Convention:
                known[name] = as_convention(value)
            elif name == "loss":
                known[name] = checks.choice(value, name, ("mse", "cross_entropy"))
            elif name in ("statistics", "decomposition", "decisions") and not isinstance(value, hints[name]):
                raise ArgumentTypeError(f"{name}: expected {hints[name].__name__}, got {value!r}")
        outputs = {name: len(known[name]) for name in _SHAPES if known.get(name) is not None}
        if len(set(outputs.values())) > 1:
            raise ArgumentError(f"{' and '.join(outputs)}: expected as many outputs in each, got {outputs}")
        return function(*bound.args, **bound.kwargs)

    return cast(F, public)


def _documented(entry: Metric, example: str) -> str:
    parts = re.split(r"\n\n(\w+)\n-+\n", inspect.cleandoc(entry.function.__doc__ or ""))
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    cited = f" See :cite:t:`{entry.reference}`." if entry.reference else ""
    low, high = (f"{end:g}" for end in entry.range)
    ideal = "" if entry.ideal is None else f"; {entry.ideal:g} at collapse"
    described = [f"{argument} : {_ARGUMENTS[argument][0]}" for argument in entry.arguments]
    text = {
        "Parameters": "\n".join([*described, *filter(None, [sections.pop("Parameters", "")])]),
        "Returns": f"float\n    From {low} to {high}{ideal}.",
        "Raises": "Undefined\n    If there is no value; the text says why.",
    }
    if example:
        before = [line for part in _prerequisites(entry) for line in _EXAMPLE[part].splitlines()]
        call = f"round(ec.metrics.{entry.function.__name__}({', '.join(_positional(entry))}), 4)"
        imports = "import encollapse as ec" + (", numpy as np" if any("np." in line for line in before) else "")
        sections["Examples"] = "\n".join(f">>> {line}" for line in (imports, *before, call)) + f"\n{example}"
    body = "".join(f"\n\n{title}\n{'-' * len(title)}\n{content}" for title, content in (text | sections).items())
    return f"{parts[0]}\n\n.. math:: {entry.formula}\n\n{cited.strip()}{body}\n"


def _positional(entry: Metric) -> list[str]:
    parameters = inspect.signature(entry.function).parameters
    return [argument for argument in entry.arguments if parameters[argument].default is inspect.Parameter.empty]


def _prerequisites(entry: Metric) -> list[str]:
    wanted = set(_positional(entry))
    if "decomposition" in wanted:
        wanted |= {"statistics", "weight", "bias"}
    return [part for part in _EXAMPLE if part in wanted]
