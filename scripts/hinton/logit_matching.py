"""7. Soft targets go over to logit matching as the temperature grows."""

import math

from hinton import charts, numbers
from hinton.statistics import deviation, difference, mean, percent, points

name = "logit-matching"
title = "Logit matching is soft targets at a high temperature"
recipes = ["logit-matching"]
temperatures = [1, 2, 5, 10, 20, 50, 200]


def make(suite):
    suite.train("regularized-teacher", "teacher", "threads=2")
    metrics = suite.compare("logit-matching", name, "--baseline", "logit matching")
    arms = numbers.arms(metrics)
    matched = [centred(numbers.test_logits(job)) for job in numbers.jobs(numbers.of_arm(metrics, name.replace("-", " ")))]
    rows = []
    for value in temperatures:
        jobs = numbers.jobs(numbers.of_arm(metrics, f"T = {value}"))
        own = [centred(numbers.test_logits(job)) for job in jobs]
        rows.append({"temperature": value, **arms[f"T = {value}"],
                     "distance": [distance(a, b) for a, b in zip(own, matched)],
                     "agreement": [agreement(a, b) for a, b in zip(own, matched)]})
    # How far apart two students by logit matching are that differ in their seed.
    apart = [distance(a, b) for index, a in enumerate(matched) for b in matched[:index]]
    return {"teacher": metrics["teachers"][0]["accuracy"], "logit_matching": arms["logit matching"], "rows": rows,
            "seeds_apart": mean(apart)}


def centred(rows):
    """With the mean of each row taken away: to add a number to all logits of an example changes nothing."""
    return [[value - sum(row) / len(row) for value in row] for row in rows]


def distance(first, second):
    """The root of the mean squared difference of two students' logits."""
    squares = sum((a - b) ** 2 for one, other in zip(first, second) for a, b in zip(one, other))
    return math.sqrt(squares / (len(first) * len(first[0])))


def agreement(first, second):
    """How often two students name the same class."""
    return sum(one.index(max(one)) == other.index(max(other)) for one, other in zip(first, second)) / len(first)


def verdict(result):
    rows = result["rows"]
    distances = [mean(row["distance"]) for row in rows]
    falls = all(b <= a * 1.02 for a, b in zip(distances, distances[1:]))
    last = rows[-1]
    gap = difference(last["accuracy"], result["logit_matching"]["accuracy"])
    is_alike = gap[1] <= 0 <= gap[2] or abs(gap[0]) < 0.001
    words = (f"The distance of the students' logits from those by logit matching of the same seed falls from "
             f"{distances[0]:.2f} at T = 1 to {distances[-1]:.2f} at T = {last['temperature']} (other seeds of logit matching "
             f"are {result['seeds_apart']:.2f} apart), and at the end both name the same class for "
             f"{100 * mean(last['agreement']):.1f} % of the test examples.")
    is_near = distances[-1] < 0.5 * result["seeds_apart"]
    word = "held" if falls and is_near and is_alike else "held in part" if distances[-1] < 0.5 * distances[0] else "not shown"
    if not falls:
        words += " It does not fall at each step."
    return word, words


def summary(result):
    rows = result["rows"]
    return ("a derivation: at a high T the gradients become those of logit matching",
            f"students' logits {mean(rows[0]['distance']):.2f} apart at T = 1, {mean(rows[-1]['distance']):.2f} at T = "
            f"{rows[-1]['temperature']}")


def section(result):
    matched = result["logit_matching"]
    lines = ["Students of 2 × 300 units by soft targets alone at several temperatures, and by logit matching with the weight "
             "1/C that the paper's derivation gives, same seeds, same order of examples. Distance is the root of the mean "
             "squared difference of the logits on the test split, their mean over the classes taken away. The paper derives "
             "it, and has no numbers.", "",
             "| | accuracy | over logit matching | distance of logits | same class |", "|---|---:|---:|---:|---:|"]
    for row in result["rows"]:
        lines.append(
            f"| T = {row['temperature']} | {percent(row['accuracy'])} | "
            f"{points(difference(row['accuracy'], matched['accuracy']))} | {mean(row['distance']):.3f} | "
            f"{percent(row['agreement'], 1)} |")
    lines.append(f"| logit matching | {percent(matched['accuracy'])} | | | |")
    return lines


def chart(result):
    found = []
    for row in result["rows"]:
        half = deviation(row["distance"])
        found.append((row["temperature"], mean(row["distance"]), mean(row["distance"]) - half, mean(row["distance"]) + half))
    return charts.lines("From soft targets to logit matching", "temperature (logarithmic)",
                        "distance of the logits, ± spread of the seeds", {"soft targets at T, from logit matching": found},
                        is_logarithmic=True, x_ticks=temperatures,
                        levels=[("two seeds of logit matching", result["seeds_apart"])])
