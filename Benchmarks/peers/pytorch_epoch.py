"""Distills by a plain PyTorch loop: with a DataLoader, as most people write it, or in memory, as fast as it gets."""

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

import common


def loss_of(student_logits, teacher_logits, labels):
    t, alpha = common.temperature, common.alpha
    soft = kl_div(log_softmax(student_logits / t, dim=1), softmax(teacher_logits / t, dim=1), reduction="batchmean")
    return alpha * t**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


def loaded_batches(task, options):
    """Batches of inputs and labels from torchvision's data set, one image at a time."""
    loader = torch.utils.data.DataLoader(
        task.dataset(train=True), batch_size=task.batch_size, shuffle=True, num_workers=options.workers,
        persistent_workers=options.workers > 0)

    def batches():
        for inputs, labels in loader:
            yield None, inputs, labels

    return batches, len(loader)


def memory_batches(task, inputs, labels):
    """Batches from two tensors that hold everything."""

    def batches():
        for rows in torch.randperm(len(labels)).split(task.batch_size):
            yield rows, inputs[rows], labels[rows]

    return batches, (len(labels) - 1) // task.batch_size + 1


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--in-memory", action="store_true", help="the data is a tensor; no DataLoader")
    parser.add_argument("--precomputed", action="store_true", help="the teacher's logits, too, are a tensor")
    parser.add_argument("--compile", action="store_true", help="the networks and the loss by torch.compile")
    parser.add_argument("--bfloat16", action="store_true", help="the networks under autocast")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)

    task = common.tasks[options.task]
    order = torch.channels_last if options.channels_last else torch.contiguous_format
    teacher = task.load(task.teacher).eval().to(memory_format=order)
    student = task.load(task.student).to(memory_format=order)
    loss_function = loss_of
    if options.compile:
        teacher, student, loss_function = map(torch.compile, [teacher, student, loss_of])
    in_memory = options.in_memory or options.precomputed
    optimizer = torch.optim.SGD(
        student.parameters(), lr=common.learning_rate, momentum=common.momentum, fused=in_memory or None)

    precomputing, logits = common.Stopwatch(), None
    if in_memory:
        inputs, labels = task.tensors(train=True, examples=options.examples)
        batches, steps_per_epoch = memory_batches(task, inputs, labels)
        if options.precomputed:
            with precomputing, torch.no_grad():
                logits = torch.cat([teacher(part.to(memory_format=order)) for part in inputs.split(500)])
    else:
        batches, steps_per_epoch = loaded_batches(task, options)

    def step(rows, inputs, labels):
        if options.channels_last:
            inputs = inputs.contiguous(memory_format=order)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            if logits is None:
                with torch.no_grad():
                    teacher_logits = teacher(inputs)
            else:
                teacher_logits = logits[rows]
            student_logits = student(inputs)
        loss = loss_function(student_logits.float(), teacher_logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # In memory, nothing waits for the loss; people who write plain loops look at it.
        return loss.detach() if in_memory else loss.item()

    def train(batches):
        student.train()
        return sum(step(*batch) for batch in batches)

    losses, seconds = common.time_epochs(options, batches, train)
    if options.task == "resnet":
        test = common.some_test_batches(task)
    else:
        test = torch.utils.data.DataLoader(task.dataset(train=False), batch_size=common.batch_size)
    mode = "precomputed" if options.precomputed else "in-memory" if options.in_memory else "loader"
    common.report(f"pytorch-{mode}", options, steps_per_epoch, seconds, ["torchvision"],
                  loss=float(losses) / (options.steps or steps_per_epoch), accuracy=common.accuracy(student, test),
                  precompute_seconds=sum(precomputing.seconds))


main()
