"""4. Soft targets as regularizers: 3 % of the data."""

from hinton import charts, numbers
from hinton.statistics import difference, is_more, mean, percent, points

name = "few-labels"
title = "Soft targets as regularizers: 3 % of the data"
recipes = ["few-labels"]


def make(suite):
    suite.train("regularized-teacher", "teacher", "threads=2")
    metrics = suite.compare("few-labels", name)
    arms = numbers.arms(metrics)
    names = {"hard, to the end": "alone, to the end", "hard, stopped early": "alone, stopped early",
             "soft, to the end": "to the end", "soft, stopped early": "stopped early", "hard, all": "alone, all labels"}
    found = {own: arms[arm] for own, arm in names.items()}
    for own in ("hard, to the end", "soft, to the end"):
        curves = [numbers.curve(job) for job in numbers.jobs(numbers.of_arm(metrics, names[own]))]
        found[own]["best_validation"] = [max(accuracy for _, accuracy, _ in curve) for curve in curves]
        found[own]["last_validation"] = [curve[-1][1] for curve in curves]
        found[own]["best_loss"] = [min(loss for _, _, loss in curve) for curve in curves]
        found[own]["last_loss"] = [curve[-1][2] for curve in curves]
        found[own]["curve"] = [
            [rounds[0][0], mean([one[1] for one in rounds]), min(one[1] for one in rounds), max(one[1] for one in rounds)]
            for rounds in zip(*curves)][::2]
    return {"teacher": metrics["teachers"][0]["accuracy"], "arms": found}


def recovered(result):
    """How much of what 3 % of the data cost with labels comes back with soft targets, to the end."""
    arms = result["arms"]
    hard = max(mean(arms[own]["accuracy"]) for own in ("hard, to the end", "hard, stopped early"))
    return (mean(arms["soft, to the end"]["accuracy"]) - hard) / (mean(arms["hard, all"]["accuracy"]) - hard)


def fall(arm):
    """From its best to its last round, on the validation split: accuracy."""
    return [best - last for best, last in zip(arm["best_validation"], arm["last_validation"])]


def verdict(result):
    arms = result["arms"]
    soft, hard = arms["soft, to the end"], arms["hard, to the end"]
    gain = points(difference(soft["accuracy"], arms["hard, stopped early"]["accuracy"]), 1)
    is_better = is_more(soft["accuracy"], arms["hard, stopped early"]["accuracy"])
    part = recovered(result)
    needs_stop = is_more(fall(hard), fall(soft))
    words = (
        f"Soft targets to the end are {gain} points above labels stopped early, {100 * part:.0f} % of what the missing 97 % "
        f"of the data cost (in the paper 87 %). From the best round to the last one labels lose "
        f"{100 * mean(fall(hard)):.2f} points of validation accuracy, soft targets {100 * mean(fall(soft)):.2f}; the loss on "
        f"the validation split goes from {mean(hard['best_loss']):.2f} at its lowest to {mean(hard['last_loss']):.2f} by "
        f"labels, by soft targets from {mean(soft['best_loss']):.2f} to {mean(soft['last_loss']):.2f}.")
    word = "held" if is_better and part >= 0.5 and needs_stop else "held in part" if is_better else "not shown"
    if is_better and not needs_stop:
        words += " That labels lose more accuracy without early stopping cannot be shown here."
    return word, words


def summary(result):
    arms = result["arms"]
    return ("all data, labels: 58.9 %; 3 %, labels: 44.5 %; 3 %, soft targets: 57.0 %",
            f"{100 * mean(arms['hard, all']['accuracy']):.1f} %; "
            f"{100 * mean(arms['hard, stopped early']['accuracy']):.1f} %; "
            f"{100 * mean(arms['soft, to the end']['accuracy']):.1f} %")


def section(result):
    arms = result["arms"]
    lines = ["The same net of 2 × 300 units, the same 1,650 images of each seed, as many steps. The teacher of experiment 1 "
             "knows all of the data, as the paper's does. Soft targets stand alone, without labels. Accuracy on the training "
             "set is that on the examples whose labels were there.", "",
             "| | training set | test | the paper's, on speech: training, test |", "|---|---:|---:|---|"]
    paper = {"hard, all": "63.4 %, 58.9 %", "hard, to the end": "", "hard, stopped early": "67.3 %, 44.5 %",
             "soft, to the end": "65.4 %, 57.0 %", "soft, stopped early": ""}
    shown = {"hard, all": "all labels", "hard, to the end": "3 %, labels, to the end",
             "hard, stopped early": "3 %, labels, stopped at the best validation",
             "soft, to the end": "3 %, soft targets, to the end",
             "soft, stopped early": "3 %, soft targets, stopped at the best validation"}
    for own, label in shown.items():
        arm = arms[own]
        lines.append(f"| {label} | {percent(arm['training'])} | {percent(arm['accuracy'])} | {paper[own]} |")
    lines.append(f"| the teacher | | {percent(result['teacher'])} | |")
    return lines


def chart(result):
    series = {}
    for own, label in (("hard, to the end", "labels"), ("soft, to the end", "soft targets")):
        series[label] = [(epoch, 100 * middle, 100 * low, 100 * high)
                         for epoch, middle, low, high in result["arms"][own]["curve"]]
    return charts.lines("Trained on 3 % of the data", "epochs of these 3 %",
                        "validation accuracy, %", series)
