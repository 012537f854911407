"""Class means as metrics need them: what is undefined without them, and why."""

from encollapse.errors import Undefined
from encollapse.metrics.statistics import Averaging, CenteredMeans, ClassStatistics


class Unresolved(Undefined):
    """A metric has no value because the arithmetic of what it is computed from was too coarse."""


def centered_means(statistics: ClassStatistics, averaging: Averaging) -> CenteredMeans:
    """Centered means of at least two present classes.

    Raises
    ------
    Undefined
        If only one class has samples.
    """
    if statistics.num_present < 2:
        raise Undefined(f"only class {statistics.present[0]} has samples; at least two classes are needed")
    return statistics.centered(averaging)


def distinct_means(statistics: ClassStatistics, averaging: Averaging) -> CenteredMeans:
    """Centered means of at least two present classes that do not all coincide.

    Raises
    ------
    Undefined
        If only one class has samples, or all class means are the same up to rounding.
    """
    centered = centered_means(statistics, averaging)
    if centered.coincide:
        raise Undefined("all class means coincide")
    return centered


def directed_means(statistics: ClassStatistics, averaging: Averaging) -> CenteredMeans:
    """Centered means each of which has a direction.

    Raises
    ------
    Undefined
        If a class mean coincides with the global mean, or only one class has samples.
    """
    centered = distinct_means(statistics, averaging)
    at_center = centered.norms <= centered.rounding
    if at_center.any():
        raise Undefined(
            f"the mean of class {centered.classes[at_center.argmax()]} coincides with the global mean, "
            "so it has no direction"
        )
    return centered
