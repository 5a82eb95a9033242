// `import Distillation` is enough to distill: tensors, layers, optimizers and data come with it.

@_exported import DistillData
@_exported import Torch
@_exported import TorchNN
@_exported import TorchOptim
