"""Times torch.add on two 3 x 4 tensors: what a call costs where the arithmetic is nothing."""

import json
import platform
import statistics
import time

import torch

calls, repeats = 100_000, 7


def nanoseconds(a, b):
    def once(count):
        add = torch.add
        started = time.perf_counter_ns()
        for _ in range(count):
            add(a, b)
        return (time.perf_counter_ns() - started) / count

    once(calls // 10)
    return [once(calls) for _ in range(repeats)]


def main():
    torch.set_num_threads(1)
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    with torch.no_grad():
        plain = nanoseconds(a, b)
    recorded = nanoseconds(a.clone().requires_grad_(), b)
    print(json.dumps({
        "program": "pytorch",
        "without_gradient_ns": statistics.median(plain), "without_gradient_all_ns": plain,
        "with_gradient_ns": statistics.median(recorded), "with_gradient_all_ns": recorded,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }))


main()
