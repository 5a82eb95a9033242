"""Labels images with the ResNet teacher in PyTorch: evaluation mode, no gradient, the best batch size."""

import json
import time

import torch
from torch import nn

import common


class Block(nn.Sequential):
    """A convolution of 3×3 windows, its normalization, and ReLU."""

    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Stage(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.block = nn.Sequential(Block(inputs, outputs), nn.MaxPool2d(2))
        self.residual = nn.Sequential(Block(outputs, outputs), Block(outputs, outputs))

    def forward(self, x):
        x = self.block(x)
        return x + self.residual(x)


def resnet9():
    """The ResNet-9 that comes with the package, for images of Fashion-MNIST."""
    from safetensors.torch import load_file

    network = nn.Sequential(
        Block(1, 32), Stage(32, 64), Stage(64, 128), Stage(128, 128), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        nn.Linear(128, 10))
    kept = load_file(common.root / "Models/fashion-mnist-resnet9/model.safetensors")
    parts = {"0": "stem"}
    for stage in range(3):
        parts |= {f"{stage + 1}.block.0": f"stages.{stage}.block"}
        parts |= {f"{stage + 1}.residual.{i}": f"stages.{stage}.residual.{i}" for i in range(2)}
    state = {"6.weight": kept["classifier.weight"], "6.bias": kept["classifier.bias"]}
    for name in network.state_dict():
        part, _, rest = name.rpartition(".")
        place, _, layer = part.rpartition(".")
        if place in parts:
            state[name] = kept[f"{parts[place]}.{['conv', 'bn'][int(layer)]}.{rest}"]
    network.load_state_dict(state)
    return network


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--bfloat16", action="store_true", help="the network under autocast")
    parser.add_argument("--compile", action="store_true", help="the network by torch.compile")
    parser.add_argument("--teacher", choices=["resnet56", "resnet9"], default="resnet56")
    parser.set_defaults(task="resnet", examples=3000)
    options = parser.parse_args()
    if options.teacher == "resnet9":
        options.task = "mlp"  # whose images these are
    torch.set_num_threads(options.threads)
    task = common.tasks[options.task]
    order = torch.channels_last if options.channels_last else torch.contiguous_format
    teacher = (resnet9() if options.teacher == "resnet9" else task.load(task.teacher)).eval().to(memory_format=order)
    if options.compile:
        teacher = torch.compile(teacher)
    inputs, _ = task.tensors(train=True, examples=options.examples)

    @torch.inference_mode()
    def label(images, size):
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            parts = [teacher(part.contiguous(memory_format=order)).float() for part in images.split(size)]
        return torch.cat(parts)

    def seconds(images, size):
        started = time.perf_counter()
        label(images, size)
        return time.perf_counter() - started

    sizes = [32, 128, 500]
    for size in sizes:
        label(inputs[:size], size)
    best = min(sizes, key=lambda size: seconds(inputs[:500], size))
    elapsed = seconds(inputs, best)
    print(json.dumps({
        "program": "pytorch-labelling", "images": len(inputs), "seconds": elapsed, "batch_size": best,
        "seconds_per_image": elapsed / len(inputs), "peak_bytes": common.peak_bytes(), "threads": options.threads,
        "versions": common.versions(),
    }))


main()
