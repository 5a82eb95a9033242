"""What the peers share: the work, the networks and their weights, the data, and the report."""

import argparse
import dataclasses
import functools
import importlib.metadata
import itertools
import json
import pathlib
import platform
import resource
import statistics
import sys
import time

import torch
from torch import nn

root = pathlib.Path(__file__).resolve().parents[2]
work = root / "data" / "benchmark"  # made by Benchmarks/setup

batch_size = 128
learning_rate, momentum = 0.05, 0.9
temperature, alpha = 4.0, 0.9  # alpha weighs the soft targets, 1 - alpha the labels
warm_up_steps = {"mlp": 20, "small": 20, "resnet": 5}
test_examples = 2000  # of which the ResNets' accuracy is that


@functools.cache
def import_torchvision():
    """torchvision, also beside a PyTorch without CUDA.

    The torchvision that pip installs on Linux is compiled for the CUDA build of PyTorch. Beside the CPU build its
    compiled operators do not load, and importing it fails because two of them are missing. Nothing here uses them, so
    their names are declared first.
    """
    if sys.platform == "linux" and torch.version.cuda is None and "+" not in importlib.metadata.version("torchvision"):
        for operator in ["nms", "qnms"]:
            torch.library.define(f"torchvision::{operator}", "(Tensor a, Tensor b, float c) -> Tensor")
    import torchvision

    return torchvision


@dataclasses.dataclass
class Task:
    """What is distilled: two networks by name, and the data with its normalization."""

    teacher: str
    student: str
    data: str
    mean: list
    deviation: list
    batch_size: int = batch_size

    def network(self, name):
        """`mlp-300-300` with 784 inputs, or `resnet20` for images of 32 pixels, as torchdistill has it."""
        if name.startswith("resnet"):
            import_torchvision()
            from torchdistill.models.classification import resnet

            return getattr(resnet, name)(num_classes=10)
        widths = [784, *map(int, name.split("-")[1:]), 10]
        layers = [nn.Flatten()]
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def load(self, name):
        """The network with the weights that all programs begin with, which lie in the order of the layers."""
        return load(self.network(name), name)

    def dataset(self, train):
        """The data as torchvision's users read it: a PIL image per example, to a tensor, normalized."""
        torchvision = import_torchvision()
        transform = torchvision.transforms.Compose([
            torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(self.mean, self.deviation)])
        if self.data == "cifar":
            return CIFARImages(train, transform)
        return torchvision.datasets.FashionMNIST(work, train=train, transform=transform)

    def tensors(self, train, examples=None):
        """The first examples, or all, as two tensors: normalized pixels and labels."""
        data = self.dataset(train)
        if self.data == "cifar":
            pixels, labels = torch.from_numpy(data.images).permute(0, 3, 1, 2), torch.tensor(data.labels)
        else:
            pixels, labels = data.data.unsqueeze(1), data.targets
        pixels, labels = pixels[:examples], labels[:examples]
        mean, deviation = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (self.mean, self.deviation))
        return pixels.float().contiguous().div_(255).sub_(mean).div_(deviation), labels


tasks = {
    "mlp": Task("mlp-1200-1200", "mlp-300-300", "fashion-mnist", [0.2860], [0.3530]),
    "small": Task("mlp-1200-1200", "mlp-30-30", "fashion-mnist", [0.2860], [0.3530], batch_size=64),
    "resnet": Task("resnet56", "resnet20", "cifar", [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}


class CIFARImages(torch.utils.data.Dataset):
    """CIFAR-10's binary files, given as torchvision.datasets.CIFAR10 gives its own: a PIL image made on the way."""

    def __init__(self, train, transform):
        import numpy

        names = [f"data_batch_{number}" for number in range(1, 6)] if train else ["test_batch"]
        rows = [numpy.fromfile(work / f"cifar/{name}.bin", dtype=numpy.uint8).reshape(-1, 3073) for name in names]
        self.labels = numpy.concatenate([part[:, 0] for part in rows]).astype(numpy.int64).tolist()
        images = numpy.concatenate([part[:, 1:] for part in rows]).reshape(-1, 3, 32, 32)
        self.images = numpy.ascontiguousarray(images.transpose(0, 2, 3, 1))
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def load(model, name):
    """Gives the model its weights from a file, where an MLP's have our names, in the order of their layers."""
    from safetensors.torch import load_file

    stored = load_file(work / f"{name}.safetensors")
    if isinstance(model, nn.Sequential):
        names = sorted({key.rsplit(".", 1)[0] for key in stored})
        layers = [index for index, layer in enumerate(model) if isinstance(layer, nn.Linear)]
        stored = {f"{layer}.{kind}": stored[f"{name}.{kind}"]
                  for layer, name in zip(layers, names, strict=True) for kind in ["weight", "bias"]}
    lacking = model.load_state_dict(stored, strict=False)
    assert not lacking.unexpected_keys and all("num_batches" in key for key in lacking.missing_keys), lacking
    return model


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--task", choices=tasks, default="mlp", help="what is distilled (default mlp)")
    parser.add_argument("--epochs", type=int, default=1, help="timed epochs (default 1)")
    parser.add_argument("--steps", type=int, help="timed steps, instead of whole epochs")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (default 2)")
    parser.add_argument("--workers", type=int, default=0, help="worker processes of the DataLoader (default 0: none)")
    parser.add_argument("--examples", type=int, help="so many examples, where the data is in memory (default all)")
    parser.add_argument("--channels-last", action="store_true", help="images with the channels of a pixel side by side")
    return parser


def time_epochs(options, batches, train):
    """Trains for a few steps, then for those that are timed. Returns the last losses' sum, and seconds.

    Whole epochs are timed with what an epoch costs to begin. Where `--steps` are timed, they follow the first ones in
    the same epoch, so that a loader's workers have long begun.
    """
    watch, warm_up = Stopwatch(), warm_up_steps[options.task]
    running = iter(batches())
    train(itertools.islice(running, warm_up))
    if options.steps:
        rest = itertools.chain(running, itertools.chain.from_iterable(iter(batches, None)))
        with watch:
            losses = train(itertools.islice(rest, options.steps))
        return losses, watch.seconds
    del running
    for _ in range(options.epochs):
        with watch:
            losses = train(batches())
    return losses, watch.seconds


def some_test_batches(task):
    inputs, labels = task.tensors(train=False, examples=test_examples)
    return zip(inputs.split(500), labels.split(500))


@torch.inference_mode()
def accuracy(model, batches):
    model.eval()
    right = count = 0
    for inputs, labels in batches:
        right += (model(inputs).argmax(dim=1) == labels).sum().item()
        count += len(labels)
    return right / count


def peak_bytes():
    """The most memory that this process had at once. Its workers' memory is not counted, to its advantage."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def versions(*packages):
    return {"python": platform.python_version(), "torch": torch.__version__,
            **{name: importlib.metadata.version(name) for name in packages}}


def report(program, options, steps_per_epoch, epoch_seconds, packages=(), **more):
    """Prints what came out: seconds of timed epochs, or of `--steps`, and what else is known."""
    seconds_per_step = statistics.median(epoch_seconds) / (options.steps or steps_per_epoch)
    print(json.dumps({
        "program": program,
        "seconds_per_step": seconds_per_step,
        "seconds_per_epoch": seconds_per_step * steps_per_epoch,
        "epoch_seconds": epoch_seconds,
        "peak_bytes": peak_bytes(),
        "steps": options.steps or options.epochs * steps_per_epoch,
        "threads": options.threads,
        "versions": versions(*packages),
        **more,
    }))


class Stopwatch:
    """`with watch:` adds the seconds that the block took to `watch.seconds`."""

    def __init__(self):
        self.seconds = []

    def __enter__(self):
        self.started = time.perf_counter()

    def __exit__(self, *_):
        self.seconds.append(time.perf_counter() - self.started)
