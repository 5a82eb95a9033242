"""The experiments with Debian's sections: what each does, and what of it is kept."""

import hashlib
import json
import pathlib
import resource
import subprocess
import time

from hinton import numbers
from hinton.suite import Failure, Suite, read, root, say, write

data = "data/debian-sections"
recipes = "Recipes/debian-sections"


class Study(Suite):
    """The folder in which everything that is done stays."""

    def __init__(self):
        super().__init__("debian-sections")
        self.name = "runs/debian-sections"
        self.folder = root / self.name

    def recipe(self, name):
        return f"{recipes}/{name}.yaml"

    def texts(self):
        """How many there are, of which classes, and their hashes."""
        return read(root / data / "facts.json")

    def asked(self, recipe, arguments):
        """With the texts: other packages are another question."""
        return super().asked(recipe, arguments) | {"texts": self.texts()["files"]}

    def timed(self, name, body):
        """As in other suites, and the seconds of the processor."""
        path, before, start = self.folder / "seconds.json", processor_seconds(), time.monotonic()
        try:
            return body()
        finally:
            known = read(path) if path.exists() else {}
            own = known.setdefault(name, {"clock": 0, "processor": 0})
            own["clock"] += time.monotonic() - start
            own["processor"] += processor_seconds() - before
            write(path, json.dumps(known, indent=1))

    def seconds(self, name):
        return read(self.folder / "seconds.json")[name]

    def embeddings(self, seed, *options):
        """What the program `sentence-embeddings` found with a seed; asked once."""
        program = pathlib.Path(self.program).with_name("sentence-embeddings")
        path = self.folder / f"sentences-{seed}.json"
        arguments = [data, "data/models/all-minilm-l6-v2", "--seed", str(seed), *options]
        question = {"arguments": arguments, "texts": self.texts()["files"]}
        if not path.exists() or read(path)["asked"] != question:
            say(f"==> sentence-embeddings {' '.join(arguments)}")
            found = subprocess.run([program, *arguments], cwd=root, stdout=subprocess.PIPE, text=True)
            if found.returncode in (130, -2):
                raise KeyboardInterrupt
            if found.returncode != 0:
                raise Failure("sentence-embeddings failed; the same command does it again")
            write(path, json.dumps({"asked": question, "found": json.loads(found.stdout)}, indent=1))
        self.commands.append("sentence-embeddings " + " ".join(arguments))
        return read(path)["found"]


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Experiment:
    def __init__(self, name, title, make):
        self.name, self.title, self.make = name, title, make


def teacher(suite):
    """How the student of a run without a teacher scored, and what it costs."""
    metrics = suite.run("teacher", "teacher")
    one = metrics["settings"][0]["arms"][0]["seeds"][0]
    return {"accuracy": one["accuracy"], "validation": one["validation_accuracy"], "nll": one["nll"],
            "figures": metrics["distilled"]}


def compared(name):
    def make(suite):
        suite.run("teacher", "teacher")
        suite.built_on["teacher"] = weights(suite.folder / "teacher/student")
        metrics = suite.compare(name, name)
        pair = next(one for one in metrics["pairs"] if one["arm"] == "distilled" and one["baseline"] == "alone")
        return {"teacher": metrics["teachers"][0], "arms": numbers.arms(metrics),
                "figures": numbers.of_arm(metrics, "distilled")["figures"], "difference": pair["differences"]["accuracy"],
                "sentence": pair["sentence"], "verdict": pair["verdict"]}
    return make


def weights(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def sentences(suite):
    return [suite.embeddings(seed) for seed in (1, 2, 3)]


experiments = [
    Experiment("teacher", "The teacher", teacher),
    Experiment("layers", "A third of its layers", compared("layers")),
    Experiment("windows", "A small convolutional network", compared("windows")),
    Experiment("layers-few-labels", "A third of its layers, a tenth of the labels", compared("layers-few-labels")),
    Experiment("windows-few-labels", "A small convolutional network, a tenth of the labels", compared("windows-few-labels")),
    Experiment("sentences", "Sentence embeddings", sentences),
]


def conditions(suite):
    """With what the numbers were made."""
    version = subprocess.run([suite.program, "--version"], capture_output=True, text=True).stdout.strip()
    facts = {one["name"]: one["value"] for one in read(suite.folder / "teacher/manifest.json")}
    return {"Distill": version, "libtorch": facts["libtorch"], "on": facts["machine"]}
