"""Labels images with the ResNet teacher in PyTorch: evaluation mode, no gradient, the best batch size."""

import json
import time

import torch

import common


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--bfloat16", action="store_true", help="the network under autocast")
    parser.add_argument("--compile", action="store_true", help="the network by torch.compile")
    parser.set_defaults(task="resnet", examples=3000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = common.tasks[options.task]
    order = torch.channels_last if options.channels_last else torch.contiguous_format
    teacher = task.load(task.teacher).eval().to(memory_format=order)
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
