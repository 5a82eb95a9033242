"""Writes the weights of EfficientNet-Lite0, a file of torch.save, as a folder in timm's form.

The keys stay those of the file. config.json says the architecture, how pictures are prepared (as timm does for this model) and
the names of the 1000 classes; order.json lists the keys in the order of the file.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

# torchvision's own operators may be absent; timm needs none of them.
register_fake = torch.library.register_fake
torch.library.register_fake = lambda *_, **__: (lambda function: function)
import torchvision  # noqa: E402, F401

torch.library.register_fake = register_fake
import timm  # noqa: E402


def main(source, folder):
    folder.mkdir(parents=True, exist_ok=True)
    state = torch.load(source, map_location="cpu", weights_only=True)
    info = timm.data.ImageNetInfo()
    names = [info.index_to_description(index) for index in range(1000)]
    cfg = timm.create_model("tf_efficientnet_lite0").default_cfg
    kept = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes")
    config = {
        "architecture": "tf_efficientnet_lite0", "num_classes": 1000, "label_names": names,
        "pretrained_cfg": {key: cfg[key] for key in kept}}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "order.json").write_text(json.dumps(list(state)) + "\n")
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / "model.safetensors")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
