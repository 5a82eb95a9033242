"""What is measured: the programs, in groups that are measured together, and the rows of the table."""

import dataclasses
import os
import pathlib

root = pathlib.Path(__file__).resolve().parents[2]
environment = pathlib.Path(os.environ.get("DISTILL_BENCH_ENVIRONMENT", root / ".venv-bench"))


@dataclasses.dataclass
class Program:
    """A command that prints its measurements as JSON."""

    name: str
    command: list
    # Of those who do the same work, all reach the same: the field by which that is seen, "accuracy" or "loss".
    shows: str = None

    @property
    def may_fail(self):
        """torch.compile needs a C++ compiler and more; where it does not work, its rows are left out."""
        return "--compile" in self.command


@dataclasses.dataclass
class Row:
    """A line of the table. Of several programs on a side the one with the best median counts."""

    id: str
    work: str
    against: str
    ours: list
    theirs: list
    key: str = "seconds_per_step"
    unit: str = "s"
    # What their number has to be of ours, at least; nil where nothing was asked for.
    at_least: float = None
    # The goal as it is spelled, where it is not "at least 12×".
    goal: str = None
    # Their field, where it is not ours.
    their_key: str = None
    # A limit in the row's unit, where nobody is compared with.
    limit: float = None


def ours(name, mode, *options, shows=None):
    return Program(name, [str(root / ".build/release/distill-bench"), mode, "--folder", str(root), *options], shows)


def peer(name, script, *options, shows=None):
    return Program(name, [str(environment / "bin/python"), str(root / f"Benchmarks/peers/{script}.py"), *options], shows)


def training(name, make, program, *options):
    # After the ResNets' few steps the loss says more.
    return make(name, program, *options, shows="loss" if name.startswith("ResNet") else "accuracy")


def torchdistill(name, *options):
    return training(name, peer, "torchdistill_epoch", *options)


def pytorch(name, *options):
    return training(name, peer, "pytorch_epoch", *options)


# Residual networks are timed over some steps, not over an epoch, and have so many examples where they lie in memory.
few = ["--steps", "16", "--examples", "2560"]
many = ["--examples", "6000"]
teachers = [("resnet56", "ResNet-56"), ("resnet9", "ResNet-9")]
resnet = ["--task", "resnet", *few]
small = ["--student", "30,30", "--batch", "64", "--epochs", "3"]
small_peer = ["--task", "small", "--precomputed", "--epochs", "3"]


def groups(threads):
    """The programs, group by group. A group's are measured in turn."""
    two = ["--threads", str(threads)]
    # The median of three: the first epoch of a training also prepares the others.
    three = [*two, "--epochs", "3"]
    return {
        "mlp": [
            training("MLP: ours, precomputed", ours, "precomputed", *three),
            torchdistill("MLP: torchdistill", *three),
            training("MLP: ours, live", ours, "live", *three),
            torchdistill("MLP: torchdistill, 2 workers", *three, "--workers", "2"),
            pytorch("MLP: PyTorch, DataLoader", *three),
            pytorch("MLP: PyTorch, DataLoader, 2 workers", *three, "--workers", "2"),
            torchdistill("MLP: torchdistill, tensors", *three, "--in-memory"),
            pytorch("MLP: PyTorch, in memory", *three, "--in-memory"),
            pytorch("MLP: PyTorch, in memory, compiled", *three, "--in-memory", "--compile"),
            torchdistill("MLP: torchdistill, tensors, precomputed", *three, "--precomputed"),
            pytorch("MLP: PyTorch, precomputed", *three, "--precomputed"),
            pytorch("MLP: PyTorch, precomputed, compiled", *three, "--precomputed", "--compile"),
            ours("MLP: products", "products", *two),
        ],
        "small": [
            training(f"small MLP: ours, threads {n}", ours, "precomputed", *small, "--threads", n) for n in "12"
        ] + [
            pytorch(f"small MLP: PyTorch, threads {n}", *small_peer, "--threads", n) for n in "12"
        ] + [
            pytorch(f"small MLP: PyTorch, compiled, threads {n}", *small_peer, "--threads", n, "--compile") for n in "12"
        ],
        "resnet": [
            training("ResNet: ours, precomputed", ours, "resnet-precomputed", *two, *few),
            torchdistill("ResNet: torchdistill", *two, *resnet),
            training("ResNet: ours, live", ours, "resnet-live", *two, *few),
            torchdistill("ResNet: torchdistill, 2 workers", *two, *resnet, "--workers", "2"),
            torchdistill("ResNet: torchdistill, tensors", *two, *resnet, "--in-memory", "--channels-last"),
            torchdistill("ResNet: torchdistill, precomputed", *two, *resnet, "--precomputed", "--channels-last"),
            pytorch("ResNet: PyTorch, in memory", *two, *resnet, "--in-memory"),
            pytorch("ResNet: PyTorch, channels last", *two, *resnet, "--in-memory", "--channels-last"),
            pytorch("ResNet: PyTorch, precomputed", *two, *resnet, "--precomputed", "--channels-last"),
            pytorch("ResNet: PyTorch, bf16", *two, *resnet, "--in-memory", "--channels-last", "--bfloat16"),
            training("ResNet: ours, live, bf16", ours, "resnet-live", *two, *few, "--precision", "bfloat16",
                     "--teacher-precision", "bfloat16"),
        ],
        "vocabulary": [
            program for classes in ["32000", "128000"] for program in [
                ours(f"vocabulary {classes}: ours", "vocabulary", *two, "--classes", classes, shows="loss"),
                peer(f"vocabulary {classes}: PyTorch", "vocabulary", *two, "--classes", classes, shows="loss"),
                peer(f"vocabulary {classes}: PyTorch, compiled", "vocabulary", *two, "--classes", classes, "--compile",
                     shows="loss"),
            ]
        ],
        "labelling": [
            program for teacher, _ in teachers for program in [
                ours(f"labelling {teacher}: ours", "labelling", *two, "--teacher", teacher, *many),
                peer(f"labelling {teacher}: PyTorch", "labelling", *two, "--teacher", teacher),
                ours(f"labelling {teacher}: ours, f32", "labelling", *two, "--teacher", teacher, *many, "--precision",
                     "float32"),
                peer(f"labelling {teacher}: PyTorch, channels last", "labelling", *two, "--teacher", teacher,
                     "--channels-last"),
                peer(f"labelling {teacher}: PyTorch, compiled", "labelling", *two, "--teacher", teacher,
                     "--channels-last", "--compile"),
                peer(f"labelling {teacher}: PyTorch, bf16", "labelling", *two, "--teacher", teacher, "--channels-last",
                     "--bfloat16"),
            ]
        ],
        "start": [Program("distill --help", ["--cold-start", str(root / ".build/release/distill"), "--help"])],
        "operator": [
            ours("operator: ours", "operator-call"),
            peer("operator: PyTorch", "operator_call"),
        ],
    }


def rows():
    """The table: what was asked for first, then what else is worth knowing."""
    examples = ["MLP: torchdistill", "MLP: torchdistill, 2 workers"]
    resnet_examples = ["ResNet: torchdistill", "ResNet: torchdistill, 2 workers"]
    precomputed, live = ["MLP: ours, precomputed"], ["MLP: ours, live"]
    small_ours = ["small MLP: ours, threads 1", "small MLP: ours, threads 2"]
    epoch = {"key": "seconds_per_epoch", "unit": "s"}
    memory = {"key": "peak_bytes", "unit": "MB"}
    step = {"key": "seconds_per_step", "unit": "ms"}
    image = {"key": "seconds_per_image", "unit": "ms"}
    operator = {"unit": "ns"}
    table = [
        Row("mlp-precomputed", "MLP, epoch, teacher precomputed", "torchdistill, as its examples", precomputed, examples,
            **epoch, at_least=12),
        Row("mlp-live", "MLP, epoch, teacher live, f32", "torchdistill, as its examples", live, examples, **epoch,
            at_least=4),
        Row("mlp-live-pytorch", "MLP, epoch, teacher live, f32", "PyTorch, tensors in memory", live,
            ["MLP: PyTorch, in memory"], **epoch, at_least=1.15),
        Row("resnet-precomputed", "ResNet-56→20, step, precomputed", "torchdistill, as its examples",
            ["ResNet: ours, precomputed"], resnet_examples, **step, at_least=7),
        Row("resnet-live", "ResNet-56→20, step, teacher live, f32", "torchdistill, as its examples",
            ["ResNet: ours, live"], resnet_examples, **step, at_least=1.4),
        Row("small-mlp", "MLP 784-30-30-10, batch 64, step, precomputed", "PyTorch, the same in memory", small_ours,
            ["small MLP: PyTorch, threads 1", "small MLP: PyTorch, threads 2"], **step, at_least=2.5),
    ]
    for classes in [32_000, 128_000]:
        mine, other = ([f"vocabulary {classes}: {who}"] for who in ["ours", "PyTorch"])
        work = f"soft targets over {classes:,} classes"
        table += [
            Row(f"vocabulary-{classes}-memory", f"{work}, peak memory", "PyTorch eager", mine, other, **memory,
                at_least=4, goal="at most 1/4"),
            Row(f"vocabulary-{classes}-time", f"{work}, forward + backward", "PyTorch eager", mine, other,
                key="seconds", unit="s", at_least=1, goal="no slower"),
        ]
    for teacher, name in teachers:
        table.append(Row(f"labelling-{teacher}", f"labelling by {name}, an image, in the precision that it chooses",
                         "PyTorch eager, f32", [f"labelling {teacher}: ours"], [f"labelling {teacher}: PyTorch"], **image,
                         at_least=2))
    table += [
        Row("mlp-memory", "MLP, precomputed, peak memory", "torchdistill, as its examples", precomputed,
            ["MLP: torchdistill"], **memory, at_least=2, goal="at most 1/2"),
        Row("help", "`distill --help`, cold", "", ["distill --help"], [], key="seconds", unit="ms", limit=0.1,
            goal="under 100 ms"),
        Row("mlp-products", "MLP student, step, precomputed", "its matrix products at the GEMM rate", precomputed,
            ["MLP: products"], **step, their_key="seconds_at_rate", at_least=1 / 1.6, goal="at most 1.6×"),
        # The peers' other settings, and what nobody asked for.
        Row("mlp-products-own", "MLP student, step, precomputed", "its matrix products at their own shapes", precomputed,
            ["MLP: products"], **step, their_key="seconds_at_own_shapes"),
        Row("mlp-live-tensors", "MLP, epoch, teacher live, f32", "torchdistill, batches of tensors", live,
            ["MLP: torchdistill, tensors"], **epoch),
        Row("mlp-precomputed-tensors", "MLP, epoch, teacher precomputed",
            "torchdistill, batches of tensors, logits with them", precomputed,
            ["MLP: torchdistill, tensors, precomputed"], **epoch),
        Row("mlp-precomputed-pytorch", "MLP, epoch, teacher precomputed", "PyTorch, the same in memory", precomputed,
            ["MLP: PyTorch, precomputed"], **epoch),
        Row("mlp-precomputed-compiled", "MLP, epoch, teacher precomputed", "PyTorch, the same, compiled", precomputed,
            ["MLP: PyTorch, precomputed, compiled"], **epoch),
        Row("mlp-live-compiled", "MLP, epoch, teacher live, f32", "PyTorch, tensors in memory, compiled", live,
            ["MLP: PyTorch, in memory, compiled"], **epoch),
        Row("mlp-live-loader", "MLP, epoch, teacher live, f32", "PyTorch, DataLoader", live,
            ["MLP: PyTorch, DataLoader", "MLP: PyTorch, DataLoader, 2 workers"], **epoch),
        Row("mlp-live-memory", "MLP, teacher live, peak memory", "torchdistill, as its examples", live,
            ["MLP: torchdistill"], **memory),
        Row("small-mlp-compiled", "MLP 784-30-30-10, batch 64, step, precomputed", "PyTorch, the same, compiled",
            small_ours, ["small MLP: PyTorch, compiled, threads 1", "small MLP: PyTorch, compiled, threads 2"], **step),
        Row("resnet-live-tensors", "ResNet-56→20, step, teacher live, f32", "torchdistill, tensors, channels last",
            ["ResNet: ours, live"], ["ResNet: torchdistill, tensors"], **step),
        Row("resnet-precomputed-tensors", "ResNet-56→20, step, precomputed",
            "torchdistill, tensors, logits with them, channels last", ["ResNet: ours, precomputed"],
            ["ResNet: torchdistill, precomputed"], **step),
        Row("resnet-live-pytorch", "ResNet-56→20, step, teacher live, f32", "PyTorch, tensors in memory",
            ["ResNet: ours, live"], ["ResNet: PyTorch, in memory"], **step),
        Row("resnet-live-channels-last", "ResNet-56→20, step, teacher live, f32", "PyTorch, the same, channels last",
            ["ResNet: ours, live"], ["ResNet: PyTorch, channels last"], **step),
        Row("resnet-precomputed-pytorch", "ResNet-56→20, step, precomputed", "PyTorch, in memory, channels last",
            ["ResNet: ours, precomputed"], ["ResNet: PyTorch, precomputed"], **step),
        Row("resnet-bf16", "ResNet-56→20, step, teacher live, bf16", "PyTorch, in memory, bf16, channels last",
            ["ResNet: ours, live, bf16"], ["ResNet: PyTorch, bf16"], **step),
    ]
    for teacher, name in teachers:
        for id, what, mine, other in [
            ("f32", "PyTorch eager, f32", "ours, f32", "PyTorch"),
            ("channels-last", "PyTorch, f32, channels last", "ours, f32", "PyTorch, channels last"),
            ("compiled", "PyTorch, f32, channels last, compiled", "ours, f32", "PyTorch, compiled"),
            ("bf16", "PyTorch, bf16, channels last", "ours", "PyTorch, bf16"),
        ]:
            form = "f32" if mine == "ours, f32" else "in the precision that it chooses"
            table.append(Row(f"labelling-{teacher}-{id}", f"labelling by {name}, an image, {form}", what,
                             [f"labelling {teacher}: {mine}"], [f"labelling {teacher}: {other}"], **image))
    for classes in [32_000, 128_000]:
        mine, other = ([f"vocabulary {classes}: {who}"] for who in ["ours", "PyTorch, compiled"])
        work = f"soft targets over {classes:,} classes"
        table += [
            Row(f"vocabulary-{classes}-memory-compiled", f"{work}, peak memory", "PyTorch, compiled", mine, other,
                **memory),
            Row(f"vocabulary-{classes}-time-compiled", f"{work}, forward + backward", "PyTorch, compiled", mine, other,
                key="seconds", unit="s"),
        ]
    table += [
        Row("operator-add", "operator call (add, 3×4)", "PyTorch from Python", ["operator: ours"],
            ["operator: PyTorch"], **operator, key="add_without_gradient_ns"),
        Row("operator-mean", "operator call, mean of eight", "PyTorch from Python", ["operator: ours"],
            ["operator: PyTorch"], **operator, key="mean_without_gradient_ns"),
    ]
    return table


def scaling(threads):
    """Ours alone, larger and larger: title, what grows, and for each size a name and the program's options."""
    two = ["--threads", str(threads)]
    data = [(f"{60_000 * n:,}", ["--examples", str(60_000 * n), *two]) for n in [1, 4, 16]]
    return [
        ("data, teacher precomputed", "examples", "precomputed", data),
        ("data, teacher live", "examples", "live", data),
        ("student", "hidden widths", "precomputed",
         [(f"{w}, {w}", ["--student", f"{w},{w}", *two]) for w in [300, 600, 1200]]),
        ("teacher, live", "hidden widths", "live",
         [(f"{w}, {w}", ["--teacher", f"{w},{w}", "--student", "300,300", *two]) for w in [1200, 2400, 4800]]),
        ("threads, teacher precomputed", "threads", "precomputed", [(n, ["--threads", n]) for n in "12"]),
        ("threads, teacher live", "threads", "live", [(n, ["--threads", n]) for n in "12"]),
    ]
