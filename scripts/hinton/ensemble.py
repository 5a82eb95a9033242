"""5. Ten nets into one."""

from hinton import charts, numbers
from hinton.statistics import deviation, difference, is_more, mean, percent, points, signed

name = "ensemble"
title = "An ensemble of ten into one net like each of them"
recipes = ["ensemble-members", "ensemble"]
sizes = [(1, "arithmetic"), (2, "arithmetic"), (3, "arithmetic"), (5, "arithmetic"), (10, "arithmetic"), (5, "geometric"),
         (10, "geometric")]


def make(suite):
    place = suite.folder / "ensemble"
    members = suite.run("ensemble-members", "ensemble/members")["settings"][0]["arms"][0]["seeds"]
    for job in sorted((place / "members/jobs").glob("distilled-seed-*")):
        if (job / "result.json").exists():
            suite.copy_model(job / "model", f"ensemble/member-{job.name.split('-')[2]}")
    folders, teachers = [], []
    for count, average in sizes:
        weights = ", ".join(f"{{weights: {suite.name}/ensemble/member-{number + 1}}}" for number in range(count))
        folder = f"ensemble/{count}-{average}"
        changes = [f"teacher.members=[{weights}]", f"teacher.average={average}"]
        # Of one member there is no average, and the student alone is the same in all of them.
        changes = changes[:1] + ["teacher.average=null"] if count == 1 else changes
        metrics = suite.run("ensemble", folder, *changes, *(["compare=false"] if (count, average) != sizes[0] else []))
        teachers.append(metrics["teacher"]["accuracy"])
        folders.append(f"{suite.name}/{folder}")
    arms = numbers.arms(suite.compare_all(folders, "ensemble/comparison"))
    taught = [arms.get(f"{count}-{average}") or arms["distilled"] for count, average in sizes]
    return {"members": [seed["accuracy"] for seed in members], "alone": arms["alone"],
            "rows": [{"members": count, "average": average, "ensemble": accuracy, "student": arm}
                     for (count, average), accuracy, arm in zip(sizes, teachers, taught)]}


def part(result, row):
    """How much of what the ensemble is better than its members goes over."""
    way = row["ensemble"] - mean(result["members"])
    return (mean(row["student"]["accuracy"]) - mean(result["alone"]["accuracy"])) / way if way > 0 else None


def of(result, count, average):
    return next(row for row in result["rows"] if (row["members"], row["average"]) == (count, average))


def verdict(result):
    row = of(result, 10, "arithmetic")
    gain = points(difference(row["student"]["accuracy"], result["alone"]["accuracy"]))
    over = part(result, row)
    if over is None:
        return "cannot be asked", "The ensemble is not better than its members here."
    gap = points(difference(row["student"]["accuracy"], of(result, 10, "geometric")["student"]["accuracy"]))
    words = (f"The student of ten gains {gain} points over the same net alone, {signed(100 * over, 0)} % of the ensemble's gain over "
             f"its members; in the paper it is more than 80 %. Arithmetic less geometric mean: {gap} points.")
    if not is_more(row["student"]["accuracy"], result["alone"]["accuracy"]):
        return "not shown", words
    return ("held" if over >= 0.8 else "held in part"), words


def summary(result):
    row = of(result, 10, "arithmetic")
    return ("one 58.9 %, ten 61.1 %, distilled 60.8 % (frames of speech)",
            f"one {100 * mean(result['members']):.1f} %, ten {100 * row['ensemble']:.1f} %, distilled "
            f"{100 * mean(row['student']['accuracy']):.1f} %")


def section(result):
    row = of(result, 10, "arithmetic")
    lines = ["Ten nets of 2 × 300 units from ten random beginnings, and students of the same kind, at the paper's T = 2 with "
             "half of the loss for labels. There is one ensemble, and the spread is that of the students' seeds.", "",
             "| | one net alone | ten, averaged | student of ten |", "|---|---:|---:|---:|",
             "| the paper's frames of speech | 58.9 % | 61.1 % | 60.8 % |",
             f"| here | {percent(result['members'])} | {percent(row['ensemble'])} | {percent(row['student']['accuracy'])} |",
             "", "| members | mean | the ensemble | its student | over the student alone | of the ensemble's gain |",
             "|---:|---|---:|---:|---:|---:|",
             f"| none | | | {percent(result['alone']['accuracy'])} | | |"]
    for row in result["rows"]:
        over = part(result, row)
        gain = points(difference(row["student"]["accuracy"], result["alone"]["accuracy"]))
        average = row["average"] if row["members"] > 1 else ""
        shown = "" if over is None or row["members"] == 1 else f"{signed(100 * over, 0)} %"
        lines.append(f"| {row['members']} | {average} | {percent(row['ensemble'])} | "
                     f"{percent(row['student']['accuracy'])} | {gain} | {shown} |")
    return lines


def chart(result):
    rows = [row for row in result["rows"] if row["average"] == "arithmetic"]
    taught = []
    for row in rows:
        values = [100 * value for value in row["student"]["accuracy"]]
        taught.append((row["members"], mean(values), mean(values) - deviation(values), mean(values) + deviation(values)))
    series = {"the ensemble": [(row["members"],) + (100 * row["ensemble"],) * 3 for row in rows], "its student": taught}
    return charts.lines("Ensembles, and one net that learns from them", "members, arithmetic mean",
                        "test accuracy, %, ± spread of the seeds", series, x_ticks=[row["members"] for row in rows],
                        levels=[("the student alone", 100 * mean(result["alone"]["accuracy"]))])
