"""Makes what all programs share, in data/benchmark: the data uncompressed, a trained teacher, and a new student."""

import gzip
import sys

import torch
from safetensors.torch import save_file

import common


def uncompress():
    folder = common.work / "FashionMNIST" / "raw"  # where torchvision looks
    folder.mkdir(parents=True, exist_ok=True)
    for name in ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]:
        source, target = common.root / f"data/fashion-mnist/{name}-ubyte.gz", folder / f"{name}-ubyte"
        plain = source.with_suffix("")
        target.write_bytes(plain.read_bytes() if plain.exists() else gzip.decompress(source.read_bytes()))


def save(model, name):
    """Writes the weights under the names that our MLP has for them."""
    layers = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    names = [f"hidden.{index}.linear" for index in range(len(layers) - 1)] + ["output"]
    stored = {}
    for layer, key in zip(layers, names, strict=True):
        stored[f"{key}.weight"], stored[f"{key}.bias"] = layer.weight.detach(), layer.bias.detach()
    save_file(stored, common.work / f"{name}.safetensors")


def main():
    torch.set_num_threads(2)
    torch.manual_seed(1)
    uncompress()
    teacher, student = common.mlp(common.teacher_widths), common.mlp(common.student_widths)
    save(student, "student")
    inputs, labels = common.tensors(train=True)
    epochs = 3
    optimizer = torch.optim.SGD(teacher.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=epochs, steps_per_epoch=469)
    for epoch in range(epochs):
        for rows in torch.randperm(len(labels)).split(128):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(teacher(inputs[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
        print(f"teacher: epoch {epoch + 1} of {epochs}", file=sys.stderr)
    test_inputs, test_labels = common.tensors(train=False)
    reached = common.accuracy(teacher, [(test_inputs, test_labels)])
    print(f"teacher: accuracy {reached:.4f} on the test split", file=sys.stderr)
    save(teacher, "teacher")


main()
