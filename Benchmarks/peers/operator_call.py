"""Times calls of common operators on 3 x 4 tensors: what a call costs where the arithmetic is nothing."""

import json
import platform
import timeit

import torch

calls, repeats = 20_000, 16

statements = {
    "add": "torch.add(a, b)",
    "multiply by a number": "a * 2.5",
    "matmul": "torch.matmul(a, square)",
    "relu": "torch.relu(a)",
    "sum": "torch.sum(a)",
    "log softmax": "torch.log_softmax(a, -1)",
    "reshape": "a.reshape(2, 6)",
    "transpose": "a.transpose(0, 1)",
}


def nanoseconds(a, b):
    """For each operator the nanoseconds of a call, of the best of several repeats."""
    names = {"torch": torch, "a": a, "b": b, "square": torch.ones(4, 4)}
    return {
        name: min(timeit.Timer(statement, globals=names).repeat(repeats, calls)) / calls * 1e9
        for name, statement in statements.items()
    }


def main():
    torch.set_num_threads(1)
    a, b = torch.ones(3, 4), torch.ones(3, 4)
    with torch.no_grad():
        plain = nanoseconds(a, b)
    print(json.dumps({
        "program": "pytorch", "without_gradient_ns": plain, "with_gradient_ns": nanoseconds(a.requires_grad_(), b),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }))


main()
