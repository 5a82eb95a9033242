"""Does what experiments ask for with `distill`, keeps what is done, and counts the time."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

root = pathlib.Path(__file__).resolve().parent.parent.parent
recipes = "Recipes/hinton-2015"
standard_data = "fashion-mnist"
garments = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class Failure(Exception):
    pass


def say(text):
    print(text, file=sys.stderr, flush=True)


def write(path, text):
    """A reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    temporary.replace(path)


def read(path):
    return json.loads(pathlib.Path(path).read_text())


class Suite:
    """One data set's folder, in which everything that is done stays.

    Each step is a command of `distill`, which goes on where it was interrupted. What a step was asked is kept beside what
    it left, so that a step is done again only where the question has changed.
    """

    def __init__(self, data, program=None):
        self.data = data
        self.program = program or os.environ.get("DISTILL", str(root / ".build/release/distill"))
        self.name = f"runs/hinton-2015/{data}"
        self.folder = root / self.name
        self.commands = []
        self.built_on = {}

    def begin(self):
        """A new experiment: what it does and what it builds on is gathered anew."""
        self.commands, self.built_on = [], {}

    def recipe(self, name):
        """A recipe of the experiments; for other data a copy in which only the data's name is another."""
        path = f"{recipes}/{name}.yaml"
        if self.data == standard_data:
            return path
        text = (root / path).read_text().replace(standard_data, self.data)
        # The same classes by their numbers.
        lines = [line if "leave_out:" not in line else self.digits(line) for line in text.splitlines()]
        path = f"{self.name}/recipes/{name}.yaml"
        if not (root / path).exists() or (root / path).read_text() != "\n".join(lines) + "\n":
            write(root / path, "\n".join(lines) + "\n")
        return path

    def digits(self, line):
        for number, name in enumerate(garments):
            line = line.replace(name, f"'{number}'")
        return line

    # Steps

    def train(self, recipe, name, *changes):
        """Trains a recipe's teacher into the folder NAME, and gives its accuracy on the test split."""
        target, recipe = self.folder / name, self.recipe(recipe)
        arguments = ["train", recipe, *changes, "-o", f"{self.name}/{name}-training",
                     "--save-to", f"{self.name}/{name}"]
        if not self.is_done(target, recipe, arguments, target / "manifest.json"):
            if not self.is_begun(target, recipe, arguments):
                for folder in (target, self.folder / f"{name}-training"):
                    shutil.rmtree(folder, ignore_errors=True)
            self.distill(arguments + (["--force"] if target.exists() else []))
            self.done(target, recipe, arguments)
        facts = {one["name"]: one["value"] for one in read(target / "manifest.json")}
        self.built_on[name] = facts["weights hash"]
        return float(facts["accuracy of these weights on the test split"])

    def run(self, recipe, name, *changes):
        """Runs a recipe in the folder NAME, and gives what its metrics.json says."""
        place, recipe = self.folder / name, self.recipe(recipe)
        arguments = ["run", recipe, *changes, "-o", f"{self.name}/{name}"]
        if not self.is_done(place, recipe, arguments, place / "metrics.json"):
            if self.is_begun(place, recipe, arguments) and (place / "run.json").exists():
                self.distill(["resume", f"{self.name}/{name}"], shown=arguments)
            else:
                self.distill(arguments + (["--overwrite"] if (place / "run.json").exists() else []))
            self.done(place, recipe, arguments)
        return read(place / "metrics.json")

    def compare(self, recipe, name, *options):
        """Runs a recipe and compares its students, in the folder NAME: what its metrics.json says."""
        recipe = self.recipe(recipe)
        return self.compare_all([recipe], name, *options, recipe=recipe)

    def compare_all(self, what, name, *options, recipe=None):
        """Compares runs that are done, by their folders."""
        place = self.folder / name
        arguments = ["compare", *what, *options, "-o", f"{self.name}/{name}"]
        if not self.is_done(place, recipe, arguments, place / "metrics.json"):
            self.distill(arguments)
            self.done(place, recipe, arguments)
        return read(place / "metrics.json")

    def evaluation(self, name, dataset, split, *options):
        """What `distill evaluate` says of the model in the folder NAME; asked once for the same weights."""
        path, weights = self.folder / f"{name}.{split}.json", self.built_on[name]
        if not path.exists() or read(path)["weights"] != weights:
            arguments = ["evaluate", f"{self.name}/{name}", "--dataset", dataset, "--split", split, *options]
            result = subprocess.run(
                [self.program, *arguments, "--json", "--quiet"], cwd=root, stdout=subprocess.PIPE, text=True)
            if result.returncode != 0:
                raise Failure("distill evaluate failed")
            write(path, json.dumps({"weights": weights, "evaluation": json.loads(result.stdout)}))
        return read(path)["evaluation"]

    def copy_model(self, source, name):
        """Puts a trained model where recipes find it."""
        target = self.folder / name
        weights = (source / "model.safetensors").read_bytes()
        self.built_on[name] = hashlib.sha256(weights).hexdigest()
        if (target / "model.safetensors").exists() and (target / "model.safetensors").read_bytes() == weights:
            return
        temporary = target.with_name(target.name + ".part")
        for folder in (temporary, target):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, temporary)
        temporary.replace(target)

    # What was asked, and whether that is done

    def asked(self, recipe, arguments):
        text = (root / recipe).read_text() if recipe else ""
        if arguments[0] == "train":  # which asks nothing of the student
            text = text[text.index("\ndata:"):text.index("\nstudent:")]
        return {"arguments": arguments, "recipe": hashlib.sha256(text.encode()).hexdigest(), "built on": self.built_on}

    def is_begun(self, place, recipe, arguments):
        """Whether the same question has been asked before; it is noted in any case."""
        path, question = place.with_name(f"{place.name}.asked.json"), self.asked(recipe, arguments)
        is_begun = path.exists() and read(path) == question
        write(path, json.dumps(question, indent=1))
        return is_begun

    def is_done(self, place, recipe, arguments, last):
        path = place.with_name(f"{place.name}.done.json")
        if not (last.exists() and path.exists() and read(path) == self.asked(recipe, arguments)):
            return False
        self.note(arguments)
        return True

    def done(self, place, recipe, arguments):
        write(place.with_name(f"{place.name}.done.json"), json.dumps(self.asked(recipe, arguments), indent=1))

    # Commands

    def note(self, arguments):
        shown = "distill " + " ".join(shell(one) for one in arguments)
        if shown not in self.commands:
            self.commands.append(shown)

    def distill(self, arguments, shown=None):
        """Runs the program; its messages go on to whoever is looking."""
        self.note([one for one in shown or arguments if one not in ("--force", "--overwrite")])
        say(f"==> {self.commands[-1]}")
        result = subprocess.run([self.program, *arguments, "--json"], cwd=root, stdout=subprocess.DEVNULL)
        if result.returncode == 130:
            raise KeyboardInterrupt
        if result.returncode != 0:
            raise Failure(f"distill {arguments[0]} failed; the same command goes on where it was")

    def timed(self, name, body):
        """What `body` gives, and the seconds that this experiment has taken, those of earlier attempts with it."""
        path, start = self.folder / "seconds.json", time.monotonic()
        try:
            return body()
        finally:
            known = read(path) if path.exists() else {}
            known[name] = known.get(name, 0) + time.monotonic() - start
            write(path, json.dumps(known, indent=1))

    def seconds(self, name):
        return read(self.folder / "seconds.json").get(name, 0)


def shell(word):
    return word if all(c.isalnum() or c in "-_./=:," for c in word) else "'" + word.replace("'", "'\\''") + "'"
