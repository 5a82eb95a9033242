import DistillData
import DistillModels
import Distillation
import Foundation
import Torch
import TorchNN

/// What is distilled: a teacher, a student, and the data. The peers have the same, from the same files.
struct Pair {
  var teacher: any Layer
  var student: any Layer
  /// Another one like the student, to time.
  var makeStudent: () throws -> any Layer
  var train: ArrayDataset
  var test: ArrayDataset
  /// The examples of `test` by which a student is scored.
  var tested: Range<Int>
  var warmUpSteps: Int
  var normalization: Normalization

  init(_ options: Options) throws {
    let isResNet = options.mode.hasPrefix("resnet") || options.mode == "labelling"
    self = isResNet ? try Self.resNets(options) : try Self.mlps(options)
  }

  private init(
    teacher: any Layer, student: @escaping () throws -> any Layer, data: (train: ArrayDataset, test: ArrayDataset),
    tested: Int, warmUpSteps: Int, _ mean: [Float], _ deviation: [Float]
  ) throws {
    self.teacher = teacher
    self.student = try student()
    makeStudent = student
    (train, test) = data
    self.tested = 0..<tested
    self.warmUpSteps = warmUpSteps
    normalization = Normalization(mean: mean, standardDeviation: deviation)
  }

  /// MLPs on Fashion-MNIST: 784-1200-1200-10 and 784-300-300-10, if the options do not say otherwise.
  private static func mlps(_ options: Options) throws -> Pair {
    func model(_ role: String, _ widths: [Int]) throws -> any Layer {
      let hidden = try options.integers(role, widths)
      let specification = ModelSpecification(
        "mlp", ["hidden": .integers(hidden)], inputShape: [1, 28, 28], classCount: 10)
      return try load("mlp-" + hidden.map(String.init).joined(separator: "-"), specification, options)
    }
    var data = try FashionMNIST.load(folder: "\(options.folder)/\(FashionMNIST.defaultFolder)")
    let count = try options.integer("examples", data.train.count)
    if count != data.train.count { data.train = try examples(count, options) }
    return try Pair(
      teacher: model("teacher", [1200, 1200]), student: { try model("student", [300, 300]) }, data: data,
      tested: data.test.count, warmUpSteps: 20, [0.2860], [0.3530])
  }

  /// Residual networks of 56 and 20 layers on images of CIFAR's form.
  private static func resNets(_ options: Options) throws -> Pair {
    func model(_ depth: Int) throws -> any Layer {
      let specification = ModelSpecification(
        "resnet-cifar", ["depth": .integer(depth), "shortcut": .text("convolution")], inputShape: [3, 32, 32],
        classCount: 10)
      return try load("resnet\(depth)", specification, options)
    }
    return try Pair(
      teacher: model(56), student: { try model(20) },
      data: CIFAR.load(.ten, folder: "\(options.folder)/data/benchmark/cifar"), tested: 2000, warmUpSteps: 5,
      [0.4914, 0.4822, 0.4465],
      [0.2470, 0.2435, 0.2616])
  }

  /// A network with the weights that all programs begin with; a new one where there are none for its widths.
  private static func load(_ name: String, _ specification: ModelSpecification, _ options: Options) throws -> any Layer
  {
    let model = try withRandomStream(RandomStream(seed: 1, name: "weights")) { try ModelZoo.make(specification) }
    let path = "\(options.folder)/data/benchmark/\(name).safetensors"
    if FileManager.default.fileExists(atPath: path) { try model.load(try Checkpoint.read(path)) }
    return model
  }

  /// As many of Fashion-MNIST's images, over and over, in memory.
  private static func examples(_ count: Int, _ options: Options) throws -> ArrayDataset {
    let folder = "\(options.folder)/data/benchmark/FashionMNIST/raw"
    let pixels = try Data(contentsOf: URL(filePath: "\(folder)/train-images-idx3-ubyte")).dropFirst(16)
    let labels = try Data(contentsOf: URL(filePath: "\(folder)/train-labels-idx1-ubyte")).dropFirst(8)
    let buffer = HostBuffer(byteCount: count * 784)
    for start in stride(from: 0, to: buffer.bytes.count, by: pixels.count) {
      let part = pixels.prefix(buffer.bytes.count - start)
      buffer.bytes[start..<start + part.count].copyBytes(from: part)
    }
    let base = labels.startIndex
    return try ArrayDataset(
      name: "Fashion-MNIST, repeated", values: buffer, exampleShape: [1, 28, 28], count: count,
      labels: (0..<count).map { Int32(labels[base + $0 % labels.count]) })
  }
}
