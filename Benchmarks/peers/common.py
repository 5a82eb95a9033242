"""What the peers share: the networks, their weights, the data as torchvision gives it, and the report."""

import argparse
import functools
import importlib.metadata
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

teacher_widths = [784, 1200, 1200, 10]
student_widths = [784, 300, 300, 10]
batch_size = 128
learning_rate, momentum = 0.05, 0.9
temperature, alpha = 4.0, 0.9  # alpha weighs the soft targets, 1 - alpha the labels
mean, deviation = 0.2860, 0.3530
warm_up_steps = 20


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


def mlp(widths):
    layers = [nn.Flatten()]
    for index in range(len(widths) - 1):
        layers += [nn.Linear(widths[index], widths[index + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def load(model, name):
    """Weights that all programs begin with. The order of the layers is the order of their keys."""
    from safetensors.torch import load_file

    stored = load_file(work / f"{name}.safetensors")
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    keys = sorted({key.rsplit(".", 1)[0] for key in stored})
    with torch.no_grad():
        for layer, key in zip(layers, keys, strict=True):
            layer.weight.copy_(stored[f"{key}.weight"])
            layer.bias.copy_(stored[f"{key}.bias"])
    return model


def dataset(train):
    """Fashion-MNIST as torchvision's users read it: a PIL image per example, to a tensor, normalized."""
    torchvision = import_torchvision()
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((mean,), (deviation,))])
    return torchvision.datasets.FashionMNIST(work, train=train, transform=transform)


def tensors(train):
    """All of Fashion-MNIST as two tensors: normalized pixels and labels."""
    images = dataset(train)
    return (images.data.unsqueeze(1).float() / 255 - mean) / deviation, images.targets


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--epochs", type=int, default=1, help="timed epochs (default 1)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (default 2)")
    parser.add_argument("--workers", type=int, default=0, help="worker processes of the DataLoader (default 0: none)")
    return parser


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


def report(program, options, epoch_seconds, packages=(), **more):
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps({
        "program": program,
        "seconds_per_epoch": statistics.median(epoch_seconds),
        "epoch_seconds": epoch_seconds,
        "peak_bytes": peak_bytes(),
        "epochs": options.epochs,
        "threads": options.threads,
        "workers": options.workers,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, **versions},
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
