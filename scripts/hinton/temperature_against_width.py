"""2. The best temperature depends on the student's width."""

from hinton import charts, numbers
from hinton.statistics import deviation, difference, is_more, mean, percent, points

name = "temperature-against-width"
title = "Which temperature, for how wide a student"
recipes = ["temperature-against-width"]
widths = [30, 100, 300, 800]
temperatures = [1, 2.5, 4, 8, 14, 20]


def make(suite):
    suite.train("regularized-teacher", "teacher", "threads=2")
    values = ",".join(f"[{width},{width}]" for width in widths)
    metrics = suite.compare("temperature-against-width", name, "--vary", f"student.model.hidden={values}")
    arms = numbers.arms(metrics)
    rows = []
    for width in widths:
        label = f"hidden=[{width},{width}]"
        own = {arm.removeprefix("alone, ").removeprefix(f"{label}: "): found
               for arm, found in arms.items() if label in arm and not arm.startswith("alone")}
        alone = next(found for arm, found in arms.items() if arm.startswith("alone") and label in arm)
        rows.append({"width": width, "alone": alone,
                     "temperatures": {f"{value:g}": own[f"T = {value:g}"] for value in temperatures}})
    return {"teacher": metrics["teachers"][0]["accuracy"], "widths": rows}


def best(row):
    """By the validation split."""
    found = row["temperatures"]
    return max(found, key=lambda value: mean(found[value]["validation"]))


def verdict(result):
    narrow, wide = result["widths"][0], [row for row in result["widths"] if row["width"] >= 300]
    own = narrow["temperatures"]
    chosen = best(narrow)
    beats = [value for value in ("1", "20") if value != chosen and is_more(own[chosen]["accuracy"], own[value]["accuracy"])]
    is_middle = 2 <= float(chosen) <= 8
    narrow_holds = is_middle and len(beats) == 2
    spreads = []
    for row in wide:
        hot = [row["temperatures"][value]["accuracy"] for value in ("8", "14", "20")]
        spreads.append(max(abs(mean(a) - mean(b)) for a in hot for b in hot))
    alike = max(spreads) <= 0.003
    words = f"With {narrow['width']} units T = {chosen} is best by the validation split, "
    shown = {value: points(difference(own[chosen]["accuracy"], own[value]["accuracy"]))
             for value in ("1", "20") if value != chosen}
    words += " and ".join(f"{gap} points from T = {value}" for value, gap in shown.items()) + " on the test split. "
    words += (f"With 300 units or more the means at T = 8, 14 and 20 differ by up to {100 * max(spreads):.2f} points.")
    word = "held" if narrow_holds and alike else "held in part" if narrow_holds or alike else "not shown"
    if alike and not narrow_holds:
        words += " So the second half of the claim is seen here, and that a middle temperature is best for 30 units is not."
    elif narrow_holds and not alike:
        words += " So the first half of the claim is seen here, and that wide students do not care is not."
    return word, words


def summary(result):
    return ("300 units or more: all T above 8 alike; 30 units: T from 2.5 to 4",
            "; ".join(f"{row['width']} units: T = {best(row)}" for row in result["widths"]) + " (by validation)")


def section(result):
    lines = [
        "Students of two layers, the teacher of experiment 1. Test accuracies; in bold the temperature that the validation "
        "split chooses.", "",
        "| units in a layer | alone | " + " | ".join(f"T = {value:g}" for value in temperatures) + " |",
        "|---|---:|" + "---:|" * len(temperatures),
    ]
    for row in result["widths"]:
        cells = []
        for value in temperatures:
            text = percent(row["temperatures"][f"{value:g}"]["accuracy"])
            cells.append(f"**{text}**" if f"{value:g}" == best(row) else text)
        lines.append(f"| {row['width']} | {percent(row['alone']['accuracy'])} | {' | '.join(cells)} |")
    lines += ["", "Over the same student alone, in points with 95 % intervals, pairs by seed:", "",
              "| units in a layer | " + " | ".join(f"T = {value:g}" for value in temperatures) + " |",
              "|---|" + "---:|" * len(temperatures)]
    for row in result["widths"]:
        cells = [points(difference(row["temperatures"][f"{value:g}"]["accuracy"], row["alone"]["accuracy"]))
                 for value in temperatures]
        lines.append(f"| {row['width']} | {' | '.join(cells)} |")
    return lines


def chart(result):
    series = {}
    for row in result["widths"]:
        found = []
        for value in temperatures:
            gains = [100 * (a - b) for a, b in zip(row["temperatures"][f"{value:g}"]["accuracy"], row["alone"]["accuracy"])]
            half = deviation(gains)
            found.append((value, mean(gains), mean(gains) - half, mean(gains) + half))
        series[f"{row['width']} units in a layer"] = found
    return charts.lines("The gain by distillation, by temperature and width", "temperature (logarithmic)",
                        "points over the same student alone", series, is_logarithmic=True,
                        x_ticks=temperatures)
