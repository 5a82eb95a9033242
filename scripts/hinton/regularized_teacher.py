"""1. A regularized net teaches one that is not."""

from hinton import charts, numbers
from hinton.statistics import difference, is_more, mean, percent, points

name = "regularized-teacher"
title = "A regularized net teaches one that is not"
recipes = ["regularized-teacher"]


def make(suite):
    suite.train("regularized-teacher", "teacher", "threads=2")
    metrics = suite.compare("regularized-teacher", name)
    return {"teacher": metrics["teachers"][0]["accuracy"], "arms": numbers.arms(metrics)}


def share(result):
    """How much of the way from the student alone to the teacher distillation goes; nil where there is no way."""
    alone, taught = (mean(result["arms"][arm]["accuracy"]) for arm in ("alone", "distilled"))
    way = result["teacher"] - alone
    return (taught - alone) / way if way > 0 else None


def verdict(result):
    alone, taught = (result["arms"][arm]["accuracy"] for arm in ("alone", "distilled"))
    part = share(result)
    if part is None:
        return "cannot be asked", "The teacher is not better than the student alone here, so there is nothing to go over."
    gain = points(difference(taught, alone))
    if not is_more(taught, alone):
        return "not shown", f"The student gains {gain} points, an interval that holds zero."
    words = (f"The student gains {gain} points, {100 * part:.0f} % of the way to its teacher; in the paper it is 91 % of "
             "the way, in test errors.")
    return ("held" if part >= 0.5 else "held in part"), words


def summary(result):
    arms = result["arms"]
    return ("146 test errors alone, 74 distilled, teacher 67",
            f"{errors(arms['alone']['accuracy'])} alone, {errors(arms['distilled']['accuracy'])} distilled, teacher "
            f"{errors(result['teacher'])}")


def errors(accuracy):
    values = accuracy if isinstance(accuracy, list) else [accuracy]
    return f"{10_000 * (1 - mean(values)):.0f}"


def section(result):
    arms = result["arms"]
    lines = [
        "A net of 2 × 1,200 units with dropout, weight decay and images moved by up to two pixels teaches one of 2 × 800 "
        "without any of it, at T = 20. The student sees no moved image. Errors are those of the 10,000 test examples.", "",
        "| | accuracy | test errors | the paper's, on MNIST |", "|---|---:|---:|---:|",
    ]
    paper = {"alone": 146, "distilled": 74}
    for arm, shown in (("alone", "the student alone"), ("distilled", "the student distilled, T = 20")):
        values = arms[arm]["accuracy"]
        lines.append(f"| {shown} | {percent(values)} | {errors(values)} | {paper[arm]} |")
    lines.append(f"| the teacher | {percent(result['teacher'])} | {errors(result['teacher'])} | 67 |")
    return lines


def chart(result):
    rows = [("student alone", result["arms"]["alone"]["accuracy"]),
            ("student distilled, T = 20", result["arms"]["distilled"]["accuracy"]),
            ("teacher", [result["teacher"]])]
    return charts.dots("Test errors: a net without regularization, alone and taught", "errors of 10,000",
                       [(label, [10_000 * (1 - value) for value in values]) for label, values in rows])
