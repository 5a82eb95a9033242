"""Guides/hinton-2015.md and its pictures, made of the results."""

import json
import re
import textwrap

from hinton.catalog import experiments
from hinton.suite import read, root, standard_data, write

names = {"fashion-mnist": "Fashion-MNIST", "mnist": "MNIST"}


class Pages:
    """Where the results of a data set and what is made of them lie: in Guides for the standard one, else in its folder."""

    def __init__(self, data, folder=None):
        self.data = data
        place = root / "Guides" if data == standard_data else root / "runs/hinton-2015" / data
        self.place = folder or place
        self.results = self.place / "hinton-2015.json"
        self.document = self.place / "hinton-2015.md"

    def load(self):
        return read(self.results) if self.results.exists() else {"data": self.data, "experiments": {}}

    def save(self, results):
        order = [one.name for one in experiments]
        results["experiments"] = {name: results["experiments"][name] for name in order if name in results["experiments"]}
        write(self.results, json.dumps(results, indent=1) + "\n")

    def picture(self, name):
        return self.place / "images" / f"hinton-2015-{name}.svg"

    def files(self):
        """What is written of the results: path -> text."""
        results = self.load()
        known = [one for one in experiments if one.name in results["experiments"]]
        files = {self.picture(one.name): one.chart(results["experiments"][one.name]["result"]) for one in known}
        files[self.document] = document(results, known)
        return files

    def write(self):
        for path, text in self.files().items():
            write(path, text)

    def differences(self):
        """The files that are not what the results say."""
        return [path for path, text in self.files().items() if not path.exists() or path.read_text() != text]


def minutes(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def document(results, known):
    found = results["experiments"]
    data = names.get(results["data"], results["data"])
    total = sum(found[one.name]["seconds"] for one in known)
    text = [
        "# The paper's experiments", "",
        f"What Hinton, Vinyals and Dean found in *Distilling the Knowledge in a Neural Network* (2015, arXiv:1503.02531), "
        f"asked again in small, on {data}. `make paper` runs all of it, and writes this page from `hinton-2015.json`, "
        "which has the number of every seed, and each command whole.", "",
        "```sh", "make paper                                      # all that is not done yet; it goes on where it was",
        "make paper ONLY=few-labels                      # one experiment",
        "make paper DATA=mnist                           # on MNIST, when it is in data/mnist",
        "scripts/paper --list                            # their names, and what is done", "```", "",
        "## What came out", "",
        "| | the claim | the paper | here | |", "|---:|---|---|---|---|",
    ]
    for number, one in enumerate(experiments, 1):
        if one not in known:
            text.append(f"| {number} | {one.title} | | not run yet | |")
            continue
        result = found[one.name]["result"]
        paper, here = one.summary(result)
        text.append(f"| {number} | [{one.title}](#{anchor(number, one)}) | {paper} | {here} | **{one.verdict(result)[0]}** |")
    text += [
        "", f"The paper's numbers are of MNIST (1 to 3), of speech (4, 5), of JFT (6); the last row is Distiller's. These are of "
        f"{data}, so the sizes of effects cannot be the same; what is asked is whether they are there, and in which direction. "
        "All that is chosen is chosen by 5,000 validation examples. The test split is looked at once by each trained student. "
        "Accuracies are means over the seeds ± their standard deviation, differences are pairs of the same seed with 95 % "
        "intervals by Student's t (see [Evidence](Evidence.md)). **Held** is a rule in the experiment's file in "
        "`scripts/hinton`, which was there before the numbers: the difference goes the paper's way, its interval does not "
        "hold zero, and its size is a fair part of the paper's. Nothing is corrected for there being eight questions."
        if results["data"] == standard_data else
        "\nAccuracies are means over the seeds ± their standard deviation, differences are pairs of the same seed with 95 % "
        "intervals by Student's t.", "",
    ]
    for number, one in enumerate(experiments, 1):
        if one not in known:
            continue
        entry = found[one.name]
        result = entry["result"]
        word, sentence = one.verdict(result)
        text += [f"## {number}. {one.title}", "", *one.section(result), "", f"![{one.title}](images/hinton-2015-{one.name}.svg)",
                 "", f"**{word[0].upper()}{word[1:]}.** {sentence}", "",
                 f"Seeds {', '.join(map(str, entry['seeds']))}; {minutes(entry['seconds'])}. "
                 + "Recipes: " + ", ".join(link(recipe, results["data"]) for recipe in one.recipes) + ".", "",
                 "```sh", *map(shortened, entry["commands"]), "```", ""]
    if known:
        text += ["## What it was made with", ""]
        text += [f"- {one.name}: " + ", ".join(f"{key} {value}" for key, value in found[one.name]["made"].items())
                 for one in known]
        text += ["", f"All of it took {minutes(total)}. A teacher that several experiments share counts for the one that made "
                 "it."]
    return "\n".join(wrapped(text)).rstrip("\n") + "\n"


def shortened(command, most=120):
    """A command whose long lists, of classes or of members, are cut; the results have them whole."""
    return re.sub(r"'[^']{%d,}'" % most, lambda found: found[0][:most - 2] + "…'", command)


def wrapped(lines):
    """Paragraphs in lines of 120 characters; tables, code, headings, lists and pictures as they are."""
    is_code = False
    for line in lines:
        is_code ^= line.startswith("```")
        is_prose = line and not is_code and line[0] not in "|#`!-"
        joined = line.replace(" %", "\0%")  # a number and its sign stay together
        found = textwrap.wrap(joined, 120, break_long_words=False, break_on_hyphens=False) if is_prose else [line]
        yield from (one.replace("\0%", " %") for one in found)


def link(recipe, data):
    path = f"Recipes/hinton-2015/{recipe}.yaml"
    return f"[{recipe}](../{path})" if data == standard_data else path


def anchor(number, one):
    kept = "".join(c for c in f"{number}. {one.title}".lower() if c.isalnum() or c in "-_ ")
    return kept.replace(" ", "-")
