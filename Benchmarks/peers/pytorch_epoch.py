"""Distills by a plain PyTorch loop: with a DataLoader, as most people write it, or without one, as fast as it gets."""

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

import common


def loss_of(student_logits, teacher_logits, labels):
    t, alpha = common.temperature, common.alpha
    soft = kl_div(log_softmax(student_logits / t, dim=1), softmax(teacher_logits / t, dim=1), reduction="batchmean")
    return alpha * t**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


def loaded_batches(options):
    """Batches of inputs and labels from torchvision's data set, one image at a time."""
    loader = torch.utils.data.DataLoader(
        common.dataset(train=True), batch_size=common.batch_size, shuffle=True, num_workers=options.workers)

    def batches():
        for inputs, labels in loader:
            yield None, inputs, labels

    return batches


def memory_batches(inputs, labels):
    """Batches from two tensors that hold everything."""

    def batches():
        for rows in torch.randperm(len(labels)).split(common.batch_size):
            yield rows, inputs[rows], labels[rows]

    return batches


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--in-memory", action="store_true", help="the data is a tensor; no DataLoader")
    parser.add_argument("--precomputed", action="store_true", help="the teacher's logits, too, are a tensor")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)

    teacher = common.load(common.mlp(common.teacher_widths), "teacher").eval()
    student = common.load(common.mlp(common.student_widths), "student")
    optimizer = torch.optim.SGD(student.parameters(), lr=common.learning_rate, momentum=common.momentum)

    precomputing, logits = common.Stopwatch(), None
    if options.in_memory or options.precomputed:
        inputs, labels = common.tensors(train=True)
        batches = memory_batches(inputs, labels)
        if options.precomputed:
            with precomputing, torch.no_grad():
                logits = torch.cat([teacher(part) for part in inputs.split(1000)])
    else:
        batches = loaded_batches(options)

    def train(steps=None):
        student.train()
        for step, (rows, inputs, labels) in enumerate(batches()):
            if step == steps:
                break
            if logits is None:
                with torch.no_grad():
                    teacher_logits = teacher(inputs)
            else:
                teacher_logits = logits[rows]
            loss = loss_of(student(inputs), teacher_logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loss.item() != loss.item():
                raise ValueError("The loss is not a number")

    train(steps=common.warm_up_steps)
    watch = common.Stopwatch()
    for _ in range(options.epochs):
        with watch:
            train()
    test = torch.utils.data.DataLoader(common.dataset(train=False), batch_size=common.batch_size)
    mode = "precomputed" if options.precomputed else "in-memory" if options.in_memory else "loader"
    common.report(f"pytorch-{mode}", options, watch.seconds, ["torchvision"], accuracy=common.accuracy(student, test),
                  precompute_seconds=sum(precomputing.seconds))


main()
