"""6. Specialists for classes that are taken for each other."""

import json

from hinton import charts, pairs
from hinton.statistics import deviation, difference, is_more, mean, percent, points, signed

name = "specialists"
title = "Specialists, by how many of them know the class"
recipes = ["specialists"]
seeds = [1, 2, 3]
counts = [0, 1, 2, 4]
most = 10  # classes of a specialist


def make(suite):
    pairs.make(suite.data)
    rows = [{"divisions": count, "specialists": [], "covering": [], "teacher": [], "alone": [], "student": []}
            for count in counts]
    for seed in seeds:
        generalist = f"specialists/generalist-{seed}"
        own = [f"seeds=[{seed}]", f"teacher.weights={suite.name}/{generalist}"]
        suite.train("specialists", generalist, *own, "threads=2")
        confusion = suite.evaluation(generalist, "idx", "train", "--path", pairs.folder(suite.data))["confusion"]
        found = divisions(confusion, max(counts))
        for row, count in zip(rows, counts):
            groups = [group for division in found[:count] for group in division]
            names = [[str(label) for label in group] for group in groups]
            # The student alone is the same with all of them.
            more = [f"teacher.specialists.classes={json.dumps(names)}", "compare=false"] if count else [
                "teacher.specialists=null"]
            metrics = suite.run("specialists", f"specialists/seed-{seed}-{count}", *own, *more)
            row["specialists"].append(len(groups))
            row["covering"].append(sum(len(group) for group in groups) / len(confusion))
            arms = {arm["name"]: arm["seeds"][0]["accuracy"] for arm in metrics["settings"][0]["arms"]}
            row["teacher"].append(metrics["teacher"]["accuracy"])
            row["student"].append(arms["distilled"])
            if not count:
                row["alone"].append(arms["alone"])
    return {"seeds": seeds, "rows": rows}


def divisions(confusion, count):
    """The classes in groups of at most ten that are taken for each other, several times.

    Pairs of classes are joined to groups, those that are confused most often first. Each further division is made of the
    confusions that are not inside a group yet. Classes that are alone in the end are in no group.
    """
    size = len(confusion)
    left = [[confusion[i][j] + confusion[j][i] if i != j else 0 for j in range(size)] for i in range(size)]
    found = []
    for _ in range(count):
        groups = {label: {label} for label in range(size)}
        for _, i, j in sorted(((left[i][j], i, j) for i in range(size) for j in range(i) if left[i][j]), reverse=True):
            first, second = groups[i], groups[j]
            if first is not second and len(first) + len(second) <= most:
                first |= second
                groups.update({label: first for label in second})
        found.append(sorted({tuple(sorted(group)) for group in groups.values() if len(group) > 1}))
        for group in found[-1]:
            for i in group:
                for j in group:
                    left[i][j] = 0
    return found


def relative(row, first):
    """By how much the accuracy is higher than the generalist's, as a part of that."""
    return [own / other - 1 for own, other in zip(row["teacher"], first["teacher"])]


def verdict(result):
    first, *others = result["rows"]
    last = others[-1]
    gains = [mean(relative(row, first)) for row in others]
    helped = is_more(last["teacher"], first["teacher"])
    grows = all(b > a for a, b in zip([0.0] + gains, gains))
    words = (f"With {mean(last['covering']):.1f} specialists for a class in the mean the accuracy is "
             f"{points(difference(last['teacher'], first['teacher']))} points above the generalist's, "
             f"{signed(100 * gains[-1], 1)} % of it.")
    word = "held" if helped and grows else "held in part" if helped else "not shown"
    if not grows:
        words += " It does not rise with each further division."
    return word, words


def summary(result):
    first, *others = result["rows"]
    return ("relative gain with 1, 2, 4 specialists for the class: 3.4 %, 7.4 %, 10.5 %",
            "; ".join(f"{mean(row['covering']):.1f}: {signed(100 * mean(relative(row, first)), 1)} %" for row in others))


def section(result):
    first = result["rows"][0]
    paper = {0: "", 1: "+3.4 % with 1", 2: "+7.4 % with 2", 4: "+10.5 % with 4"}
    lines = ["The data are put together of the data set's own images: two of them, one above the other, are one image, and "
             "their classes one of a hundred. Training images stay training images. The classes are divided into groups of at "
             "most ten by what the generalist takes for each other among the training images, and each group gets a "
             "specialist; then again by the confusions that were not inside a group, four times in all. The paper has 61 "
             "specialists for 15,000 classes of JFT, found without labels, and a number of them for each class that differs; "
             "its generalist is right for 25.0 % of the test images, for 26.1 % with them. Three generalists, each with "
             "specialists of its own.", "",
             "| divisions | specialists | for a class | together | over the generalist | relative | the paper's | a small "
             "student of them |", "|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for row in result["rows"]:
        gain = points(difference(row["teacher"], first["teacher"])) if row is not first else ""
        share = f"{signed(100 * mean(relative(row, first)), 1)} %" if row is not first else ""
        lines.append(f"| {row['divisions']} | {mean(row['specialists']):.0f} | {mean(row['covering']):.1f} | "
                     f"{percent(row['teacher'])} | {gain} | {share} | {paper[row['divisions']]} | {percent(row['student'])} |")
    lines += ["", f"The student alone has {percent(first['alone'])}. It has 2 × 200 units, the generalist 2 × 600."]
    return lines


def chart(result):
    first = result["rows"][0]
    found = []
    for row in result["rows"]:
        values = [100 * value for value in relative(row, first)]
        half = deviation(values)
        found.append((mean(row["covering"]), mean(values), mean(values) - half, mean(values) + half))
    paper = [(count, value, value, value) for count, value in enumerate([0.0, 3.4, 7.4, 8.8, 10.5])]
    return charts.lines("Specialists beside a generalist", "specialists that know the true class, in the mean",
                        "relative change of accuracy, %, ± spread", {"here": found, "the paper's, on JFT": paper},
                        x_ticks=[0, 1, 2, 3, 4])
