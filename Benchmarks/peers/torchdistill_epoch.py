"""Distills by torchdistill: its configuration, its DistillationBox, and the training loop of its examples."""

import os
import time

import torch

import common

common.import_torchvision()

from torchdistill.common import yaml_util
from torchdistill.core.distillation import get_distillation_box
from torchdistill.misc.log import MetricLogger, SmoothedValue, set_basic_log_config
from torchdistill.models.registry import get_model, register_model


@register_model(key="mlp")
def mlp(widths):
    return common.mlp(widths)


def train(box, device, epoch, log_frequency, steps=None):
    """One epoch, or a number of steps, as torchdistill's examples do it."""
    logger = MetricLogger(delimiter="  ")
    logger.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
    logger.add_meter("img/s", SmoothedValue(window_size=10, fmt="{value}"))
    batches = logger.log_every(box.train_data_loader, log_frequency, f"Epoch: [{epoch}]")
    for step, (inputs, labels, extra) in enumerate(batches):
        if step == steps:
            break
        started = time.time()
        inputs, labels = inputs.to(device), labels.to(device)
        loss = box.forward_process(inputs, labels, extra)
        box.post_forward_process(loss=loss)
        logger.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
        logger.meters["img/s"].update(inputs.shape[0] / (time.time() - started))
        if torch.isnan(loss) or torch.isinf(loss):
            raise ValueError(f"The loss is {loss}")


def main():
    options = common.arguments(__doc__).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    set_basic_log_config()
    os.chdir(common.root)
    config = yaml_util.load_yaml_file(str(common.root / "Benchmarks/peers/torchdistill.yaml"))
    settings = config["train"]
    settings["num_epochs"] = options.epochs
    for loader in ["train_data_loader", "val_data_loader"]:
        settings[loader]["kwargs"]["num_workers"] = options.workers

    device = torch.device("cpu")
    models = config["models"]
    teacher, student = (
        common.load(get_model(models[f"{name}_model"]["key"], **models[f"{name}_model"]["kwargs"]), name).to(device)
        for name in ["teacher", "student"]
    )
    box = get_distillation_box(teacher, student, config["datasets"], settings, device, None, False, 1)

    box.pre_epoch_process(epoch=0)
    train(box, device, "warm-up", settings["log_freq"], steps=common.warm_up_steps)
    watch = common.Stopwatch()
    for epoch in range(options.epochs):
        with watch:
            box.pre_epoch_process(epoch=epoch)
            train(box, device, epoch, settings["log_freq"])
            box.post_epoch_process()
    reached = common.accuracy(box.student_model, box.val_data_loader)
    common.report("torchdistill", options, watch.seconds, ["torchdistill", "torchvision"], accuracy=reached)


main()
