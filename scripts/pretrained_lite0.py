"""Writes config.json of EfficientNet-Lite0 in timm's form: the architecture, how pictures are prepared (timm's numbers for
tf_efficientnet_lite0), and the names of ImageNet's 1000 classes from timm's tables."""

import csv
import json
import pathlib
import sys


def main(tables, path):
    with open(tables / "imagenet_synset_to_lemma.txt", encoding="utf-8", newline="") as file:
        words = dict(csv.reader(file, delimiter="\t"))
    names = [words[synset] for synset in (tables / "imagenet_synsets.txt").read_text().split()]
    assert len(names) == 1000
    preparation = {
        "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center",
        "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "num_classes": 1000}
    config = {
        "architecture": "tf_efficientnet_lite0", "num_classes": 1000, "label_names": names,
        "pretrained_cfg": preparation}
    path.write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
