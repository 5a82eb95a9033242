"""What is taken out of the files that `distill` leaves."""

import json
import struct

from hinton.suite import read, root


def arms(metrics):
    """The ways of training in the metrics.json of a comparison, by their names."""
    found = {}
    for arm in metrics["arms"]:
        seeds = sorted(arm["seeds"], key=lambda seed: seed["seed"])
        found[arm["name"]] = {
            "seeds": [seed["seed"] for seed in seeds],
            "accuracy": [seed["scores"]["accuracy"] for seed in seeds],
            "validation": [seed["validation_accuracy"] for seed in seeds],
            "training": [seed["training_accuracy"] for seed in seeds],
            "nll": [seed["scores"]["nll"] for seed in seeds],
        }
    return found


def jobs(arm):
    """The folders of an arm's trainings, seed by seed."""
    kind = "alone" if arm["is_alone"] else "distilled"
    seeds = sorted(arm["seeds"], key=lambda seed: seed["seed"])
    return [root / arm["run"] / "jobs" / f"{kind}-seed-{seed['seed']}-{seed['identity'][:10]}" for seed in seeds]


def of_arm(metrics, name):
    return next(arm for arm in metrics["arms"] if arm["name"] == name)


def result(job):
    """What a training left: its scores, and what was done to its biases."""
    return read(job / "result.json")


def curve(job):
    """Epoch, accuracy and loss on the validation split, round by round."""
    rounds = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines()]
    return [(one["epoch"], one["validation"]["accuracy"], one["validation"]["loss"]) for one in rounds]


def test_logits(job):
    """The rows of a training's logits for the test split."""
    data = (job / "test.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensor = json.loads(data[8:8 + length])["logits"]
    rows, columns = tensor["shape"]
    start = 8 + length + tensor["data_offsets"][0]
    numbers = struct.unpack_from(f"<{rows * columns}f", data, start)
    return [numbers[row * columns:(row + 1) * columns] for row in range(rows)]
