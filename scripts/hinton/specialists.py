"""6. Specialists for classes that are taken for each other."""

from hinton import charts, pairs
from hinton.statistics import deviation, difference, is_more, mean, percent, points

name = "specialists"
title = "Specialists, by how many of them know the class"
recipes = ["specialists"]
seeds = [1, 2, 3]
divisions = {0: None, 1: [10], 2: [10, 16], 4: [10, 16, 24, 7]}


def make(suite):
    pairs.make(suite.data)
    rows = [{"covering": covering, "specialists": [], "teacher": [], "alone": [], "student": []} for covering in divisions]
    for seed in seeds:
        generalist = f"specialists/generalist-{seed}"
        own = [f"seeds=[{seed}]", f"teacher.weights={suite.name}/{generalist}"]
        suite.train("specialists", generalist, *own, "threads=2")
        for row, counts in zip(rows, divisions.values()):
            change = "teacher.specialists=null" if counts is None else f"teacher.specialists.count={counts}"
            # The student alone is the same with all of them.
            more = [change] if counts is None else [change, "compare=false"]
            metrics = suite.run("specialists", f"specialists/seed-{seed}-{row['covering']}", *own, *more)
            arms = {arm["name"]: arm["seeds"][0]["accuracy"] for arm in metrics["settings"][0]["arms"]}
            row["teacher"].append(metrics["teacher"]["accuracy"])
            row["student"].append(arms["distilled"])
            row["specialists"].append(len(metrics["teacher"].get("specialists") or []))
            if counts is None:
                row["alone"].append(arms["alone"])
    return {"seeds": seeds, "rows": rows}


def relative(row, first):
    """By how much the accuracy is higher than the generalist's, as a part of that."""
    return [own / other - 1 for own, other in zip(row["teacher"], first["teacher"])]


def verdict(result):
    first, *others = result["rows"]
    last = others[-1]
    gains = [mean(relative(row, first)) for row in others]
    helped = is_more(last["teacher"], first["teacher"])
    grows = all(b > a for a, b in zip([0.0] + gains, gains))
    words = (f"With {last['covering']} specialists for each class the accuracy is "
             f"{points(difference(last['teacher'], first['teacher']))} points above the generalist's, "
             f"{100 * gains[-1]:.1f} % of it.")
    word = "held" if helped and grows else "held in part" if helped else "not shown"
    if not grows:
        words += " It does not rise with each further one."
    return word, words


def summary(result):
    first, *others = result["rows"]
    return ("relative gain with 1, 2, 4 specialists for the class: 3.4 %, 7.4 %, 10.5 %",
            ", ".join(f"{row['covering']}: {100 * mean(relative(row, first)):.1f} %" for row in others))


def section(result):
    first = result["rows"][0]
    paper = {0: "0.0 %", 1: "+3.4 %", 2: "+7.4 %", 4: "+10.5 %"}
    lines = ["The data are put together of the data set's own images: two of them, one above the other, are one image, and "
             "their classes one of a hundred. Training images stay training images. Which classes are taken for each other "
             "is found from what the generalist says, as in the paper; its 100 classes are divided once, twice or four "
             "times, so that each is known by one, two or four specialists. In the paper, on 15,000 classes of JFT, the number "
             "differs from class to class, and its generalist is right for 25.0 % of the test images, for 26.1 % with its 61 "
             "specialists. Three generalists, each with specialists of its own.", "",
             "| specialists that know the class | specialists | together | over the generalist | relative | the paper's "
             "relative | a small student of them |", "|---:|---:|---:|---:|---:|---:|---:|"]
    for row in result["rows"]:
        gain = points(difference(row["teacher"], first["teacher"])) if row is not first else ""
        share = f"{100 * mean(relative(row, first)):+.1f} %".replace("-", "−") if row is not first else ""
        lines.append(f"| {row['covering']} | {max(row['specialists']) or ''} | {percent(row['teacher'])} | {gain} | {share} | "
                     f"{paper[row['covering']]} | {percent(row['student'])} |")
    lines += ["", f"The student alone has {percent(first['alone'])}. It has 2 × 200 units, the generalist 2 × 600."]
    return lines


def chart(result):
    first = result["rows"][0]
    found = []
    for row in result["rows"]:
        values = [100 * value for value in relative(row, first)]
        half = deviation(values)
        found.append((row["covering"], mean(values), mean(values) - half, mean(values) + half))
    paper = [(count, value, value, value) for count, value in ((0, 0.0), (1, 3.4), (2, 7.4), (4, 10.5))]
    return charts.lines("Specialists beside a generalist", "specialists that know the true class",
                        "relative change of accuracy, %, ± spread", {"here": found, "the paper's, on JFT": paper},
                        x_ticks=list(divisions))
