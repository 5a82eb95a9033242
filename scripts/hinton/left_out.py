"""3. Classes left out of the transfer set, before and after their bias is put right."""

from hinton import charts, numbers
from hinton.statistics import difference, is_more, mean, percent, points

name = "left-out"
title = "Classes that the student never sees"
recipes = ["left-out", "two-classes"]
kinds = [("as it is", "bias corrected", "soft targets and labels"),
         ("as it is, soft targets only", "bias corrected, soft targets only", "soft targets only")]


def make(suite):
    suite.train("regularized-teacher", "teacher", "threads=2")
    found = {}
    for recipe in recipes:
        metrics = suite.compare(recipe, recipe)
        classes = metrics["data"]["class_names"]
        seen = [7, 8] if recipe == "two-classes" else [label for label in range(10) if label != 3]
        rows = []
        for before, after, kind in kinds:
            row = {"kind": kind}
            for key, arm in (("before", before), ("after", after)):
                shown = numbers.of_arm(metrics, arm)
                results = [numbers.result(job) for job in numbers.jobs(shown)]
                row[key] = numbers.arms(metrics)[arm] | {
                    "unseen": [recall(one, [label for label in range(10) if label not in seen]) for one in results]}
                if key == "after":
                    row["shifts"] = [shift(one) for one in results]
                    row["after"]["corrected_validation"] = [
                        one["correctedBias"]["validationAfter"] for one in results]
            rows.append(row)
        unseen = [label for label in range(10) if label not in seen]
        known = suite.evaluation("teacher", suite.data, "test")["classes"]
        found[recipe] = {
            "unseen": [classes[label] for label in unseen], "seen": [classes[label] for label in seen],
            "teacher": metrics["teachers"][0]["accuracy"],
            "teacher_unseen": sum(known[label]["recall"] * known[label]["count"] for label in unseen) / sum(
                known[label]["count"] for label in unseen),
            "rows": rows}
    return found


def recall(result, labels):
    """The part of the test examples of some classes that is recognized."""
    classes = [result["test"]["perClass"][label] for label in labels]
    return sum(one["recall"] * one["count"] for one in classes) / sum(one["count"] for one in classes)


def shift(result):
    """By how much the biases of the unseen classes were raised."""
    return (result.get("correctedBias") or {"shift": 0})["shift"]


def chosen(rows):
    """What the validation split chooses, once the bias is put right."""
    return max(rows, key=lambda row: mean(row["after"]["corrected_validation"]))


def verdict(result):
    first = chosen(result["left-out"]["rows"])
    second = chosen(result["two-classes"]["rows"])
    part = mean(first["after"]["unseen"]) / result["left-out"]["teacher_unseen"]
    helped = is_more(first["after"]["unseen"], first["before"]["unseen"])
    two = is_more(second["after"]["accuracy"], second["before"]["accuracy"])
    words = (
        f"Of the class that it has never seen the student recognizes {percent(first['before']['unseen'], 1)}, with its bias "
        f"put right {percent(first['after']['unseen'], 1)}; its teacher {percent(result['left-out']['teacher_unseen'], 1)}. "
        f"With two classes in the transfer set the correction brings "
        f"{points(difference(second['after']['accuracy'], second['before']['accuracy']), 1)} points of accuracy.")
    word = "held" if part >= 0.8 and helped and two else "held in part" if helped or two else "not shown"
    return word, words


def summary(result):
    first = chosen(result["left-out"]["rows"])
    second = chosen(result["two-classes"]["rows"])

    def error(values):
        return f"{100 * (1 - mean(values)):.1f}"

    return ("threes recognized: 86.8 %, with their bias put right 98.6 %; errors with two classes: 47.3 %, then 13.2 %",
            f"{result['left-out']['unseen'][0]}: {100 * mean(first['before']['unseen']):.1f} %, then "
            f"{100 * mean(first['after']['unseen']):.1f} %; errors with two classes: {error(second['before']['accuracy'])} "
            f"%, then {error(second['after']['accuracy'])} %")


paper = {
    "left-out": "206 errors of 10,000, 133 of them on the 1,010 threes; 109 and 14 with the bias of 3 raised by 3.5",
    "two-classes": "47.3 % errors; 13.2 % with the biases of 7 and 8 lowered by 7.6",
}


def section(result):
    lines = ["The student, 2 × 300 units, is distilled at T = 20 without any example of some classes; the teacher of "
             "experiment 1 knows all of them. The shift of the unseen classes' biases is found on validation examples, "
             "where the paper took the test split.", ""]
    for recipe in recipes:
        found = result[recipe]
        what = f"Left out: {found['unseen'][0]}" if recipe == "left-out" else f"Kept: {' and '.join(found['seen'])}"
        lines += [f"**{what}.** The paper's, on MNIST: {paper[recipe]}.", "",
                  "| the student learns from | bias | accuracy | of the unseen recognized | shift |", "|---|---|---:|---:|---:|"]
        for row in found["rows"]:
            shifts = row["shifts"]
            lines += [
                f"| {row['kind']} | as it is | {percent(row['before']['accuracy'])} | {percent(row['before']['unseen'], 1)} | |",
                f"| | put right | {percent(row['after']['accuracy'])} | {percent(row['after']['unseen'], 1)} "
                f"| {mean(shifts):.1f} |"]
        lines += [f"| the teacher | | {percent(found['teacher'])} | {percent(found['teacher_unseen'], 1)} | |", ""]
    return lines[:-1]


def chart(result):
    rows = []
    for recipe, what in (("left-out", "one class left out"), ("two-classes", "two classes kept")):
        for row in result[recipe]["rows"]:
            only = ", no labels" if row["kind"] == "soft targets only" else ""
            rows += [(f"{what}{only}", row["before"]["unseen"]), ("its bias put right", row["after"]["unseen"])]
        rows.append((f"{what}: the teacher", [result[recipe]["teacher_unseen"]]))
    return charts.dots("Test examples of classes that were not in the transfer set", "recognized, %",
                       [(label, [100 * value for value in values]) for label, values in rows])
