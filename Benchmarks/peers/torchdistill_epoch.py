"""Distills by torchdistill: its configuration, its DistillationBox, and the training loop of its examples.

`--in-memory` and `--precomputed` are what its extension points allow beyond its examples: a data set that gives whole
batches of tensors, and a teacher whose outputs come with the batch.
"""

import time

import torch

import common

common.import_torchvision()

from torchdistill.common import yaml_util
from torchdistill.core.distillation import get_distillation_box
from torchdistill.core.interfaces.registry import register_forward_proc_func
from torchdistill.datasets.registry import register_collate_func
from torchdistill.misc.log import MetricLogger, SmoothedValue, set_basic_log_config


class TensorBatches(torch.utils.data.Dataset):
    """Batches from tensors that hold everything; with them, where there are any, the teacher's logits."""

    def __init__(self, inputs, labels, logits):
        self.inputs, self.labels, self.logits = inputs, labels, logits

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, rows):
        supplementary = {} if self.logits is None else {"teacher_logits": self.logits[rows]}
        return self.inputs[rows], self.labels[rows], supplementary


@register_collate_func
def as_it_is(batch):
    return batch


@register_forward_proc_func
def precomputed_logits(model, inputs, targets=None, supp_dict=None, **_):
    return supp_dict["teacher_logits"]


def train(box, device, epoch, log_frequency, batches):
    """An epoch, or some steps, as torchdistill's examples do it. Returns the sum of the losses."""
    logger = MetricLogger(delimiter="  ")
    logger.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
    logger.add_meter("img/s", SmoothedValue(window_size=10, fmt="{value}"))
    for inputs, labels, supplementary in logger.log_every(batches, log_frequency, f"Epoch: [{epoch}]"):
        started = time.time()
        inputs, labels = inputs.to(device), labels.to(device)
        loss = box.forward_process(inputs, labels, supplementary)
        box.post_forward_process(loss=loss)
        logger.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
        logger.meters["img/s"].update(inputs.shape[0] / (time.time() - started))
        if torch.isnan(loss) or torch.isinf(loss):
            raise ValueError(f"The loss is {loss}")
    return logger.meters["loss"].total


def tensor_batches(task, options, teacher):
    inputs, labels = task.tensors(train=True, examples=options.examples)
    logits = None
    if options.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if options.precomputed:
        with torch.no_grad():
            logits = torch.cat([teacher.eval()(part) for part in inputs.split(500)])
    return TensorBatches(inputs, labels, logits)


class Sized:
    """Batches with a length, which the log of torchdistill's loop asks for."""

    def __init__(self, batches, count):
        self.batches, self.count = batches, count

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return self.count


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--in-memory", action="store_true", help="a data set that gives whole batches of tensors")
    parser.add_argument("--precomputed", action="store_true", help="with the teacher's outputs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    set_basic_log_config()
    task = common.tasks[options.task]
    device = torch.device("cpu")
    order = torch.channels_last if options.channels_last else torch.contiguous_format
    teacher, student = (
        task.load(name).to(device).to(memory_format=order) for name in [task.teacher, task.student])

    settings = yaml_util.load_yaml_file(str(common.root / "Benchmarks/peers/torchdistill.yaml"))
    settings["num_epochs"] = options.epochs
    loading = settings["train_data_loader"]
    loading["kwargs"] |= {
        "batch_size": task.batch_size, "num_workers": options.workers, "persistent_workers": options.workers > 0}
    if options.in_memory or options.precomputed:
        examples = tensor_batches(task, options, teacher)
        loading |= {"requires_supp": False, "collate_fn": "as_it_is"}
        if options.precomputed:
            settings["teacher"]["forward_proc"] = "precomputed_logits"
    else:
        examples = task.dataset(train=True)
    data = {"train": examples, "test": task.dataset(train=False)}
    box = get_distillation_box(teacher, student, data, settings, device, None, False, 1)
    steps_per_epoch = len(box.train_data_loader)
    epochs = iter(range(10**6))

    def begin():
        box.pre_epoch_process(epoch=next(epochs))
        return box.train_data_loader

    def run(batches):
        return train(box, device, 0, settings["log_freq"], Sized(batches, options.steps or steps_per_epoch))

    losses, seconds = common.time_epochs(options, begin, run)
    test = common.some_test_batches(task) if options.task == "resnet" else box.val_data_loader
    common.report("torchdistill", options, steps_per_epoch, seconds, ["torchdistill", "torchvision"],
                  loss=losses / (options.steps or steps_per_epoch), accuracy=common.accuracy(box.student_model, test))


main()
