"""Makes what all programs share, in data/benchmark: the data uncompressed, trained teachers, and new students.

Fashion-MNIST is the MLPs' data. The ResNets' is made here: images of CIFAR-10's form, in files of its binary version,
that can be learned but not at once.
"""

import gzip
import sys

import numpy
import torch
from safetensors.torch import save_file

import common
from common import work

step_size, epochs = 0.05, 3


def uncompress():
    folder = work / "FashionMNIST" / "raw"  # where torchvision looks
    folder.mkdir(parents=True, exist_ok=True)
    for name in ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]:
        source, target = common.root / f"data/fashion-mnist/{name}-ubyte.gz", folder / f"{name}-ubyte"
        plain = source.with_suffix("")
        target.write_bytes(plain.read_bytes() if plain.exists() else gzip.decompress(source.read_bytes()))


def draw_images():
    """Five files of 10,000 images and one to test: a smooth pattern for each class, others over it, and noise."""
    random = numpy.random.default_rng(1)
    folder = work / "cifar"
    folder.mkdir(exist_ok=True)
    patterns = random.normal(size=(40, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)  # the first ten are the classes'
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        labels = random.integers(0, 10, size=10_000, dtype=numpy.uint8)
        others = random.integers(10, 40, size=(2, 10_000))
        images = 18 * patterns[labels] + 30 * patterns[others[0]] + 30 * patterns[others[1]]
        images += random.normal(scale=40, size=images.shape) + 128
        pixels = images.clip(0, 255).astype(numpy.uint8).reshape(10_000, -1)
        numpy.concatenate([labels[:, None], pixels], axis=1).tofile(folder / f"{name}.bin")


def save(model, name):
    """Writes the weights, those of an MLP under the names that ours has for them."""
    stored = {key: value.contiguous() for key, value in model.state_dict().items() if "num_batches" not in key}
    if isinstance(model, torch.nn.Sequential):
        keys = list(stored)
        for index in range(0, len(keys), 2):
            place = "output" if index == len(keys) - 2 else f"hidden.{index // 2}.linear"
            for key in keys[index : index + 2]:
                stored[f"{place}.{key.rsplit('.')[-1]}"] = stored.pop(key)
    save_file(stored, work / f"{name}.safetensors")


def train(teacher, task, steps):
    inputs, labels = task.tensors(train=True)
    optimizer = torch.optim.SGD(teacher.parameters(), lr=step_size, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * step_size, total_steps=steps)
    teacher.train()
    for step in range(steps):
        rows = torch.randint(len(labels), (common.batch_size,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(teacher(inputs[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"{task.teacher}: step {step + 1} of {steps}", file=sys.stderr, flush=True)
    reached = common.accuracy(teacher, common.some_test_batches(task))
    print(f"{task.teacher}: accuracy {reached:.4f} on examples of the test split", file=sys.stderr)


def main():
    torch.set_num_threads(2)
    uncompress()
    draw_images()
    for task, steps in [(common.tasks["mlp"], 1407), (common.tasks["resnet"], 150)]:
        torch.manual_seed(1)
        teacher, student = task.network(task.teacher), task.network(task.student)
        save(student, task.student)
        train(teacher, task, steps)
        save(teacher, task.teacher)
    torch.manual_seed(1)
    save(common.tasks["small"].network("mlp-30-30"), "mlp-30-30")
    (work / ".complete").write_text("2\n")


main()
