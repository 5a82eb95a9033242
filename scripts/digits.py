#!/usr/bin/env python3
"""Writes Sources/DistillData/Datasets/DigitsData.swift: UCI's handwritten digits as Swift source.

The data are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI Machine Learning
Repository, CC BY 4.0), taken from scikit-learn's `load_digits`: 1,797 grey images of 8x8 pixels with values from 0 to
16. It has to be run again only if that file is to change:

    python3 -m venv .venv && .venv/bin/pip install scikit-learn && .venv/bin/python scripts/digits.py
"""

import base64
import hashlib
import pathlib
import zlib

import numpy
from sklearn.datasets import load_digits

TARGET = pathlib.Path(__file__).parent.parent / "Sources/DistillData/Datasets/DigitsData.swift"
WIDTH = 112

HEAD = """\
// swift-format-ignore-file
// Written by scripts/digits.py. Change that, not this.

/// UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0), the {count} images of its test
/// part as scikit-learn's `load_digits` gives them.
enum DigitsData {{
  /// The number of images.
  static let count = {count}

  /// The length of the data once inflated: first the pixels, 64 bytes an image, row by row, each from 0 to 16; then the
  /// labels, one byte an image, each from 0 to 9.
  static let byteCount = {bytes}

  /// The SHA-256 of the data once inflated.
  static let sha256 = "{sha256}"

  /// The data, deflated (zlib's format, RFC 1950) and in base64.
  static let base64: StaticString = \"\"\"
"""
FOOT = """\
    \"\"\"
}
"""


def main():
    digits = load_digits()
    pixels = digits.data.astype(numpy.uint8)
    labels = digits.target.astype(numpy.uint8)
    assert pixels.shape == (1797, 64) and (pixels == digits.data).all() and pixels.max() == 16
    assert labels.shape == (1797,) and labels.max() == 9
    raw = pixels.tobytes() + labels.tobytes()
    text = base64.b64encode(zlib.compress(raw, 9)).decode("ascii")
    lines = [text[start : start + WIDTH] for start in range(0, len(text), WIDTH)]
    head = HEAD.format(count=len(labels), bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())
    body = "".join(f"    {line}\\\n" for line in lines[:-1]) + f"    {lines[-1]}\n"
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(head + body + FOOT)
    print(f"{TARGET}: {len(raw)} bytes of data, {len(text)} characters")


if __name__ == "__main__":
    main()
