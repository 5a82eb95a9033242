"""Means, spreads and paired differences over seeds."""

import math
import statistics

# Of Student's t, 97.5 %, by degrees of freedom.
quantiles = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262]


def mean(values):
    return statistics.fmean(values)


def deviation(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


def difference(first, second):
    """The mean of first − second, seed by seed, with its 95 % interval."""
    differences = [a - b for a, b in zip(first, second)]
    if len(differences) < 2:
        return differences[0], -math.inf, math.inf
    half = quantiles[len(differences) - 2] * statistics.stdev(differences) / math.sqrt(len(differences))
    middle = statistics.fmean(differences)
    return middle, middle - half, middle + half


def is_more(first, second):
    """Whether the paired interval lies above zero."""
    return difference(first, second)[1] > 0


def percent(values, decimals=2):
    """`89.51 ± 0.12 %`; the spread over seeds, where there are several."""
    values = values if isinstance(values, list) else [values]
    text = f"{100 * mean(values):.{decimals}f}"
    if len(values) > 1:
        text += f" ± {100 * deviation(values):.{decimals}f}"
    return text + " %"


def points(interval, decimals=2):
    """`+0.51 [+0.20, +0.82]`, in points."""
    middle, low, high = (signed(100 * value, decimals) for value in interval)
    return f"{middle} [{low}, {high}]" if math.isfinite(interval[1]) else middle


def signed(value, decimals=2):
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-")
