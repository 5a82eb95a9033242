"""Guides/text-classification.md, made of the results."""

import json

from hinton.statistics import deviation, difference, mean, percent, points
from hinton.suite import read, root, write
from hinton.writing import minutes, wrapped
from sections.study import experiments


class Pages:
    """Where the results lie, and what is made of them."""

    def __init__(self, folder=None):
        self.place = folder or root / "Guides"
        self.results = self.place / "text-classification.json"
        self.document = self.place / "text-classification.md"

    def load(self):
        return read(self.results) if self.results.exists() else {"experiments": {}}

    def save(self, results):
        known = results["experiments"]
        results["experiments"] = {one.name: known[one.name] for one in experiments if one.name in known}
        write(self.results, json.dumps(results, indent=1) + "\n")

    def text(self):
        return page(self.load())

    def write(self):
        write(self.document, self.text())

    def is_old(self):
        return not self.document.exists() or self.document.read_text() != self.text()


def count(number):
    return f"{number:,}"


def size(number):
    """Parameters and bytes in millions."""
    return f"{number / 1e6:.2f} M" if number < 10e6 else f"{number / 1e6:.1f} M"


def milliseconds(seconds):
    return f"{1000 * seconds:.2f} ms"


def costs(figures):
    return (f"{size(figures['parameters'])} | {size(figures['bytes'])}B | {size(figures['multiply_adds'])} | "
            f"{milliseconds(figures['latency_seconds'])}")


students = {"layers": "two of its layers", "layers-few-labels": "two of its layers, a tenth of the labels",
            "windows": "`text-cnn`", "windows-few-labels": "`text-cnn`, a tenth of the labels"}


def page(results):
    found = {name: one["result"] for name, one in results["experiments"].items()}
    text = ["# Text classification, measured", "",
            "MiniLM, 22 million parameters that were trained on sentences, learns to tell the sections of Debian's packages "
            "apart by their synopses, and teaches two small students: one that begins with two of its six layers and learns by "
            "the losses of DistilBERT, and a convolutional network over words. `make text` does all of it and writes this page "
            "from `text-classification.json`; [Text classification](TextClassification.md) says how to do it with texts of "
            "one's own.", "",
            "```sh", "make text                     # all that is not done yet; it goes on where it was",
            "make text ONLY=windows        # one experiment", "scripts/text --list           # their names, and what is done",
            "```", ""]
    text += texts(results["texts"]) if "texts" in results else []
    if "teacher" in found:
        text += classifiers(found)
    if "sentences" in found:
        text += embeddings(found["sentences"])
    text += made(results["experiments"])
    return "\n".join(wrapped(text)).rstrip("\n") + "\n"


def texts(facts):
    counts = {name.split(".")[0]: one["texts"] for name, one in facts["files"].items()}
    classes = ", ".join(facts["classes"])
    return ["## The texts", "",
            f"They come from `apt-cache dumpavail`, by `scripts/datasets debian-sections`: {count(counts['train'])} to train on, "
            f"{count(counts['validation'])} to choose by, {count(counts['test'])} to test on, in {len(facts['classes'])} classes "
            f"({classes}). A text is the line that says what a package is, such as *Regular expression library for Java*. One "
            "package stands for each source package, so that none of its siblings, which say nearly the same, is on the other "
            "side of a split; of equal texts there is one. Which split a package is in follows from a hash of its name. Texts "
            "are cut at 16 tokens; one in ten is longer.", "",
            "| file | SHA-256 |", "|---|---|",
            *(f"| `{name}` | `{one['sha256']}` |" for name, one in facts["files"].items()), "",
            "A machine that knows other packages makes other files, and gets other numbers.", ""]


def classifiers(found):
    teacher = found["teacher"]
    text = ["## What came out", "",
            "| | parameters | weights | multiply-adds | one text | accuracy alone | accuracy distilled | distilled − alone |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            f"| MiniLM, the teacher | {costs(teacher['figures'])} | {percent(teacher['accuracy'])} | | |"]
    for name, label in students.items():
        if name not in found:
            continue
        result = found[name]
        arms = {arm: one["accuracy"] for arm, one in result["arms"].items()}
        gain = result["difference"]
        # One model has one line of costs.
        cost = "| | |" if name.endswith("-few-labels") else costs(result["figures"])
        text.append(
            f"| {label} | {cost} | {percent(arms['alone'])} | {percent(arms['distilled'])} | "
            f"{points((gain['mean'], gain['low'], gain['high']))} |")
    text += ["", "Accuracies of students are means over three seeds ± their standard deviation, on the test split, which each "
             "student saw once. Differences are of pairs of one seed, in points, with 95 % intervals by Student's t "
             "([Evidence](Evidence.md)). The student alone begins as the distilled one does, which for the transformer is with "
             "layers of the teacher that was fine-tuned, and takes the same steps. Where a tenth of the labels may be seen, the "
             "student alone learns from that tenth; the distilled one sees all texts, and of those without a label what the "
             "teacher says. The teacher has seen all labels. *One text* is the time for a text by itself, on two threads.", ""]
    for name, label in students.items():
        if name in found:
            text += [f"- **{label[0].upper()}{label[1:]}**: {found[name]['sentence']}"]
    return text + [""]


rows = {"start": "nothing yet", "cosine": "the cosine", "both": "the cosine, distances and angles"}


def embeddings(seeds):
    text = ["## Sentence embeddings", "",
            "MiniLM itself puts a sentence where the mean of its last hidden states lies, on the sphere. Two of its layers, its "
            "third and its sixth, learn to put the training texts there, without a label, in one epoch: by the cosine of both "
            "embeddings ([hidden states](HiddenStates.md)), and beside it by the distances and angles between the texts of a "
            "batch ([relations](RelationalKnowledge.md)). Held against the teacher's are the similarities of 20,000 pairs of "
            "texts for testing.", "",
            "| learned by | Spearman | Pearson | cosine with the teacher's |", "|---|---:|---:|---:|"]
    for name, label in rows.items():
        values = {key: [seed[name][key] for seed in seeds] for key in ("spearman", "pearson", "cosine")}
        text.append("| " + " | ".join([label] + [number(values[key]) for key in ("spearman", "pearson", "cosine")]) + " |")
    first, second = ([seed[name]["spearman"] for seed in seeds] for name in ("both", "cosine"))
    middle, low, high = difference(first, second)
    parameters = seeds[0]["both"]["parameters"]
    change = f"{middle:+.4f} [{low:+.4f}, {high:+.4f}]".replace("-", "−")
    return text + ["", f"Means over {len(seeds)} seeds ± their standard deviation; nothing is drawn at the start. The student "
                   f"has {size(parameters)} parameters, most of them the teacher's embeddings of words. Distances and angles "
                   f"beside the cosine change Spearman's correlation by {change}. `Examples/SentenceEmbeddings` is the "
                   "program.", ""]


def number(values):
    spread = f" ± {deviation(values):.4f}" if deviation(values) else ""
    return f"{mean(values):.4f}{spread}"


def made(known):
    if not known:
        return []
    text = ["## How it was made", "", "| experiment | time | of the processor |", "|---|---:|---:|"]
    titles = {one.name: one.title for one in experiments}
    for name, one in known.items():
        seconds = one["seconds"]
        text.append(f"| {titles[name]} | {minutes(seconds['clock'])} | {seconds['processor']:.0f} s |")
    clock = sum(one["seconds"]["clock"] for one in known.values())
    processor = sum(one["seconds"]["processor"] for one in known.values())
    text += [f"| all | {minutes(clock)} | {processor:.0f} s |", "",
             "Attempts that were broken off count, and what else the machine had to do shows in the times.", ""]
    facts = next(iter(known.values()))["made"]
    text += [", ".join(f"{key} {value}" for key, value in facts.items()) + ".", "", "```sh"]
    commands = [command for one in known.values() for command in one["commands"]]
    return text + list(dict.fromkeys(commands)) + ["```"]
