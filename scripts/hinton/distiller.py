"""Distiller's experiment in small: a ResNet and a shallower one of its family."""

from hinton import charts, numbers
from hinton.statistics import difference, is_more, mean, percent, points

name = "distiller"
title = "Distiller's experiment in small"
recipes = ["distiller"]


def make(suite):
    metrics = suite.compare("distiller", name)
    return {"teacher": metrics["teachers"][0]["accuracy"], "arms": numbers.arms(metrics)}


def verdict(result):
    arms = result["arms"]
    taught, alone = arms["distilled"]["accuracy"], arms["alone"]["accuracy"]
    words = (f"Four runs: the distilled student is {points(difference(taught, alone))} points above the same student alone. "
             "Distiller's table has +0.52 to +0.57 for a ResNet-20 with teachers of 32 and 44 layers.")
    return ("held" if is_more(taught, alone) else "not shown"), words


def summary(result):
    arms = result["arms"]
    return ("ResNet-20 alone 92.22 %, taught by a ResNet-44 92.80 % (averages of 4)",
            f"alone {100 * mean(arms['alone']['accuracy']):.2f} %, distilled {100 * mean(arms['distilled']['accuracy']):.2f} %")


def section(result):
    lines = ["A ResNet-20 teaches a ResNet-8, both half as wide as usual, on a fifth of the data: T = 5, 0.7 for soft targets "
             "and 0.3 for labels, four runs, as in the table that Distiller publishes of CIFAR-10 (float32, ResNet-20).", "",
             "| | best | worst | average | Distiller's best, worst, average |", "|---|---:|---:|---:|---|"]
    paper = {"alone": "92.40 %, 91.91 %, 92.22 %", "distilled": "93.09 %, 92.64 %, 92.80 %"}
    for arm, label in (("alone", "the student alone"), ("distilled", "the student distilled")):
        values = result["arms"][arm]["accuracy"]
        lines.append(f"| {label} | {percent(max(values))} | {percent(min(values))} | {percent(mean(values))} | {paper[arm]} |")
    lines.append(f"| the teacher | | | {percent(result['teacher'])} | a ResNet-44: 93.74 % |")
    return lines


def chart(result):
    rows = [("student alone", result["arms"]["alone"]["accuracy"]),
            ("student distilled, T = 5", result["arms"]["distilled"]["accuracy"]), ("teacher", [result["teacher"]])]
    return charts.dots("A ResNet-20 teaches a ResNet-8", "test accuracy, %",
                       [(label, [100 * value for value in values]) for label, values in rows])
