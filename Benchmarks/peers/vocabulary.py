"""Soft targets over a large vocabulary in PyTorch: linear layer of student and teacher, loss, forward and backward."""

import argparse
import json
import statistics
import time

import torch
from torch.nn.functional import kl_div, linear, log_softmax

import common


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=32_000)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=2, help="timed repeats, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="the loss by torch.compile")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    t = common.temperature

    # Logits of a standard deviation of about 1.
    def hidden():
        return torch.randn(options.tokens, options.hidden)

    def weight():
        return torch.randn(options.classes, options.hidden) * options.hidden**-0.5

    student, student_weight, teacher, teacher_weight = hidden(), weight(), hidden(), weight()
    student.requires_grad_(), student_weight.requires_grad_()

    def loss_of(student, student_weight, teacher, teacher_weight):
        with torch.no_grad():
            targets = log_softmax(linear(teacher, teacher_weight) / t, dim=1)
        logs = log_softmax(linear(student, student_weight) / t, dim=1)
        return t**2 * kl_div(logs, targets, reduction="batchmean", log_target=True)

    function = torch.compile(loss_of) if options.compile else loss_of
    seconds = []
    for _ in range(options.repeats + 1):
        student.grad = student_weight.grad = None
        started = time.perf_counter()
        loss = function(student, student_weight, teacher, teacher_weight)
        loss.backward()
        seconds.append(time.perf_counter() - started)
        value = loss.item()
        del loss
    print(json.dumps({
        "program": "pytorch-vocabulary", "seconds": statistics.median(seconds[1:]), "peak_bytes": common.peak_bytes(), "loss": value,
        "threads": options.threads, "versions": common.versions(),
    }))


main()
