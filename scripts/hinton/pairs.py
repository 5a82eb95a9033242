"""A hundred classes of real images: two of them, one above the other, are one image, and their classes one class."""

import gzip
import pathlib
import random
import struct

from hinton.suite import Failure, garments, root, standard_data, write

parts = ["train", "t10k"]


def make(data):
    """Puts them into data/hinton-2015/DATA-pairs, as IDX files, if they are not there."""
    names = garments if data == standard_data else [str(digit) for digit in range(10)]
    compose(root / "data" / data, root / folder(data), names)


def folder(data):
    return f"data/hinton-2015/{data}-pairs"


def compose(source, target, names):
    """Every image is once above and once below, and those of the test split stay in the test split."""
    if (target / "classes.txt").exists():
        return
    for part in parts:
        (_, rows, columns), pixels = idx(source, f"{part}-images-idx3-ubyte", 3)
        (_,), labels = idx(source, f"{part}-labels-idx1-ubyte", 1)
        size = rows * columns
        lower = list(range(len(labels)))
        random.Random(f"pairs of {part}").shuffle(lower)
        images = b"".join(pixels[above * size:(above + 1) * size] + pixels[below * size:(below + 1) * size]
                          for above, below in enumerate(lower))
        classes = bytes(len(names) * labels[above] + labels[below] for above, below in enumerate(lower))
        write_bytes(target / f"{part}-images-idx3-ubyte",
                    struct.pack(">4B3I", 0, 0, 8, 3, len(lower), 2 * rows, columns) + images)
        write_bytes(target / f"{part}-labels-idx1-ubyte", struct.pack(">4BI", 0, 0, 8, 1, len(lower)) + classes)
    pairs = [f"{above}, {below}" for above in names for below in names]
    write(target / "classes.txt", "".join(f"{number}: {pair}\n" for number, pair in enumerate(pairs)))


def idx(folder, name, dimensions):
    path = next((folder / found for found in (name, f"{name}.gz") if (folder / found).exists()), None)
    if path is None:
        raise Failure(f"{folder}/{name} is not there: 'distill datasets' says how to get the data")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    return shape, data[4 + 4 * dimensions:]


def write_bytes(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(f"{path}.part")
    temporary.write_bytes(data)
    temporary.replace(path)
