import DistillData
import DistillModels
import Foundation
import Synchronization
import TestSupport
import Testing
import Torch
import TorchNN

@testable import Distillation

@Suite struct FoldedTeacherTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var options: [String: OptionValue] = [:]
    var shape = [3, 16, 16]
    /// How many batch normalizations stand behind a convolution that nobody else reads.
    var folded: Int

    var testDescription: String { name }
  }

  static let cases = [
    Case(name: "resnet9", folded: 10),
    Case(name: "convnet", folded: 3),
    Case(name: "convnet", options: ["depthwise": .flag(true)], folded: 5),
    Case(name: "resnet-cifar", options: ["depth": .integer(8)], folded: 7),
    Case(name: "resnet-cifar", options: ["depth": .integer(8), "shortcut": .text("convolution")], folded: 9),
    Case(name: "resnet", options: ["small_images": .flag(true)], folded: 20),
    Case(name: "resnet", options: ["depth": .integer(50)], shape: [3, 32, 32], folded: 53),
    Case(name: "mobilenet-v2", options: ["small_images": .flag(true)], folded: 52),
    Case(name: "mlp", options: ["hidden": .integers([32, 16])], folded: 0),
  ]

  /// A model whose normalizations have seen data, so that folding them is no small thing.
  static func model(_ of: Case, type: DType = .float32) throws -> (model: any Layer, inputs: Tensor) {
    try withRandomStream(try RandomStream(seed: 3, name: "folding")) {
      let model = try ModelZoo.make(
        ModelSpecification(of.name, of.options, inputShape: of.shape, classCount: 10))
      let inputs = try Tensor.empty([20] + of.shape).drawUniform(from: -1, to: 2)
      model.train()
      try withoutGradient { for _ in 0..<3 { _ = try model(inputs) } }
      for named in model.namedModules {
        guard let norm = named.module as? BatchNorm else { continue }
        try withoutGradient {
          try norm.weight.drawUniform(from: 0.5, to: 1.5)
          try norm.bias.drawUniform(from: -0.5, to: 0.5)
        }
      }
      model.eval()
      try model.move(to: .cpu, dtype: type)
      return (model, try inputs.to(type))
    }
  }

  @Test(arguments: cases) func foldedIsUnfolded(_ of: Case) throws {
    let (model, inputs) = try Self.model(of)
    let expected = try withoutGradient { try model(inputs) }
    let teacher = FrozenTeacher(model)
    try assertClose(try teacher.trace(inputs).output, expected, relative: 1e-4, absolute: 1e-4)
    let counts = try #require(try teacher.counts(like: inputs))
    #expect(counts.foldedNormalizations == of.folded)
    #expect(of.name == "mlp" || counts.fused > 0)
    // Another number of examples, and one alone.
    for count in [1, 7] {
      let part = try inputs.sliced(0, from: 0, to: count)
      let own = try withoutGradient { try model(part) }
      try assertClose(try teacher.trace(part).output, own, relative: 1e-4, absolute: 1e-4)
    }
  }

  @Test(arguments: cases) func foldedIsUnfoldedToTheLastDigitsOfFloat64(_ of: Case) throws {
    let (model, inputs) = try Self.model(of, type: .float64)
    let expected = try withoutGradient { try model(inputs) }
    try assertClose(try FrozenTeacher(model).trace(inputs).output, expected, relative: 1e-10, absolute: 1e-10)
  }

  @Test(arguments: cases) func theModelStaysAsItIs(_ of: Case) throws {
    let (model, inputs) = try Self.model(of)
    let before = try model.state.map { try $0.tensor.copied() }
    let identities = model.state.map { ObjectIdentifier($0.tensor) }
    let expected = try withoutGradient { try model(inputs).floats() }
    _ = try FrozenTeacher(model).trace(inputs)
    #expect(model.state.map { ObjectIdentifier($0.tensor) } == identities)
    for (tensor, own) in zip(model.state, before) {
      #expect(try tensor.tensor.equals(own).all(), Comment(rawValue: tensor.name))
    }
    let afterwards = try withoutGradient { try model(inputs).floats() }
    #expect(afterwards == expected)
  }

  @Test func tapsOfWhatIsFoldedGiveWhatTheModelGives() throws {
    let (model, inputs) = try Self.model(Self.cases[0])
    let paths = [
      "stem.conv", "stem.bn", "stages.0.block.conv", "stages.1", "stages.2.residual.1.conv", "last_features",
    ]
    let taps = paths.map { Tap($0) } + [Tap("stages.0.residual.0.bn", .input), Tap("classifier", .input)]
    let plain = try withoutGradient { try model.trace(inputs, taps: taps) }
    let folded = try FrozenTeacher(model).trace(inputs, taps: taps)
    for tap in taps {
      let own = try plain.activation(at: tap)
      let other = try folded.activation(at: tap)
      #expect(own.shape == other.shape)
      try assertClose(other, own, relative: 1e-4, absolute: 1e-4)
    }
    try assertClose(folded.output, plain.output, relative: 1e-4, absolute: 1e-4)
    #expect(throws: TapError.self) { try FrozenTeacher(model).trace(inputs, taps: [Tap("stages.9")]) }
  }

  @Test func weightsThatChangeAreFoldedAnew() throws {
    let (model, inputs) = try Self.model(Self.cases[1])
    let teacher = FrozenTeacher(model)
    let before = try teacher.trace(inputs).output
    let norm = try #require(model.module(at: "features.0.bn") as? BatchNorm)
    try withoutGradient { try norm.runningMean.copy(from: norm.runningMean + 0.3) }
    let changed = try teacher.trace(inputs).output
    #expect(try (changed - before).absolute().maximum().item() > 1e-3)
    try assertClose(changed, try withoutGradient { try model(inputs) }, relative: 1e-4, absolute: 1e-4)
    // A tensor that took another's place.
    norm.runningMean = try norm.runningMean + 0.3
    let replaced = try teacher.trace(inputs).output
    try assertClose(replaced, try withoutGradient { try model(inputs) }, relative: 1e-4, absolute: 1e-4)
    #expect(try (replaced - changed).absolute().maximum().item() > 1e-3)
  }

  @Test("Trap 3: a folded teacher whose model somebody trains is in evaluation mode all the same")
  func trainedModelsTeachInEvaluationMode() throws {
    let (model, inputs) = try Self.model(Self.cases[1])
    let teacher = FrozenTeacher(model)
    let expected = try withoutGradient { try model(inputs) }
    model.train()
    try assertClose(try teacher.trace(inputs).output, expected, relative: 1e-4, absolute: 1e-4)
    model.train()
    try assertClose(try teacher.trace(inputs).output, expected, relative: 1e-4, absolute: 1e-4)
    #expect(try teacher.counts(like: inputs)?.foldedNormalizations == 3)
  }

  static let families = [
    ModelSpecification("mlp", ["hidden": [6, 5]], inputShape: [1, 4, 4], classCount: 3),
    ModelSpecification("convnet", ["widths": [3, 4]], inputShape: [1, 8, 8], classCount: 3),
    ModelSpecification("resnet9", ["widths": [3, 4, 5]], inputShape: [1, 8, 8], classCount: 3),
    ModelSpecification("resnet-cifar", ["depth": 8, "width": 0.25], inputShape: [1, 8, 8], classCount: 3),
    ModelSpecification("wide-resnet", ["depth": 10, "widen": 1], inputShape: [1, 8, 8], classCount: 3),
    ModelSpecification("mobilenet-v2", ["width": 0.25], inputShape: [3, 32, 32], classCount: 3),
    ModelSpecification("resnet", ["depth": 18], inputShape: [3, 32, 32], classCount: 3),
    ModelSpecification(
      "reused-classifier",
      ["student": .model(InnerModel("resnet-cifar", ["depth": 8, "width": 0.25])), "teacher_features": [6, 4, 4]],
      inputShape: [1, 8, 8], classCount: 3),
    ModelSpecification("decoder", ["depth": 2, "width": 8, "heads": 2], inputShape: [6], classCount: 3),
    ModelSpecification("llama", ["depth": 2, "width": 8, "heads": 2, "key_heads": 1], inputShape: [6], classCount: 3),
    ModelSpecification(
      "bert", ["vocabulary": 5, "depth": 2, "width": 8, "heads": 2, "padding": 2], inputShape: [6], classCount: 3),
    ModelSpecification("text-cnn", ["vocabulary": 5, "width": 4, "filters": 3], inputShape: [6], classCount: 3),
    ModelSpecification("vit", ["patch": 4, "depth": 2, "width": 8, "heads": 2], inputShape: [3, 8, 8], classCount: 3),
    ModelSpecification("efficientnet", ["width": 0.25], inputShape: [3, 32, 32], classCount: 3),
    ModelSpecification("mobilenet-v3", ["width": 0.25], inputShape: [3, 32, 32], classCount: 3),
  ]

  @Test func everyFamilyIsThere() {
    #expect(Set(Self.families.map(\.architecture)) == Set(ModelZoo.architectures.map(\.name)))
  }

  @Test(arguments: families) func everyFamilyTeachesAsItsModel(_ specification: ModelSpecification) throws {
    try withRandomStream(try RandomStream(seed: 11, name: specification.architecture)) {
      let model = try ModelZoo.make(specification)
      model.eval()
      let shape = [4] + specification.inputShape
      let isText = specification.inputShape.count == 1
      // Nothing to fold: no batch normalization, and no ReLU behind a linear layer.
      let isTransformer = isText || specification.architecture == "vit"
      let inputs =
        try isText
        ? Tensor((0..<24).map { Float($0 * 7 % 5 % 3) }, shape: shape)
        : Tensor.empty(shape).drawUniform(from: -1, to: 2)
      let family = try ModelZoo.architecture(named: specification.architecture)
      let taps = [Tap(family.features), Tap(family.classifier, .input), Tap(family.classifier)]
      let plain = try withoutGradient { try model.trace(inputs, taps: taps) }
      let teacher = FrozenTeacher(model)
      // Twice: the second time nothing is written down.
      for _ in 0..<2 {
        let folded = try teacher.trace(inputs, taps: taps)
        try assertClose(folded.output, plain.output, relative: 1e-4, absolute: 1e-4)
        for tap in taps {
          try assertClose(folded.activation(at: tap), plain.activation(at: tap), relative: 1e-4, absolute: 1e-4)
        }
      }
      let part = try inputs.sliced(0, from: 1, to: 4)
      try assertClose(teacher.trace(part).output, withoutGradient { try model(part) }, relative: 1e-4, absolute: 1e-4)
      #expect(try teacher.counts(like: inputs) != nil || isTransformer)
      let half = try FrozenTeacher(model, precision: .bfloat16).trace(inputs).output
      try assertClose(half.to(.float32), plain.output, relative: 0.1, absolute: 0.1)
    }
  }

  @Test("Teachers on several threads do not see each other's calls") func threads() throws {
    let failures = Mutex<[String]>([])
    let group = DispatchGroup()
    for index in 0..<4 {
      group.enter()
      Thread {
        defer { group.leave() }
        do {
          for round in 0..<3 {
            let (model, inputs) = try Self.model(Self.cases[(index + round) % 4])
            let expected = try withoutGradient { try model(inputs) }
            let output = try FrozenTeacher(model).trace(inputs).output
            let error = try (output - expected).absolute().maximum().item()
            if error > 1e-3 { failures.withLock { $0.append("thread \(index): \(error)") } }
          }
        } catch { failures.withLock { $0.append("\(error)") } }
      }.start()
    }
    group.wait()
    #expect(failures.withLock { $0 }.isEmpty)
  }

  /// Calls another operator for large batches than for small ones.
  private final class Undecided: Layer {
    let linear: Linear
    init() throws { linear = try Linear(4, 3) }
    func forward(_ input: Tensor) throws -> Tensor {
      let output = try linear(input)
      return input.shape[0] > 2 ? try output.relu() : output
    }
  }

  /// Looks at its input's numbers.
  private final class Looking: Layer {
    let linear: Linear
    init() throws { linear = try Linear(4, 3) }
    func forward(_ input: Tensor) throws -> Tensor {
      let first = try input.floats()[0]
      return first > 0 ? try linear(input) : try linear(input) * 2
    }
  }

  @Test func modelsThatDependOnWhatTheySeeAreNotFolded() throws {
    let inputs = try Tensor.ones([6, 4])
    for model in [try Undecided(), try Looking()] as [any Layer] {
      let teacher = FrozenTeacher(model)
      for batch in [inputs, try inputs * -1, try inputs.sliced(0, from: 0, to: 2)] {
        #expect(try teacher.trace(batch).output.floats() == withoutGradient { try model(batch).floats() })
      }
      #expect(try teacher.counts(like: inputs) == nil)
    }
  }

  @Test func halfPrecisionIsNearFloat32() throws {
    let (model, inputs) = try Self.model(Self.cases[0])
    let exact = try FrozenTeacher(model, folds: false).trace(inputs).output
    let half = try FrozenTeacher(model, precision: .bfloat16).trace(inputs).output.to(.float32)
    let fidelity = try TeacherFidelity(exact: exact, other: half, temperatures: [1, 4])
    #expect(fidelity.worstMean < 1e-3)
    #expect(fidelity.worstMean > 0)
  }

  @Test func int8IsNearFloat32() throws {
    for index in [0, 4, 7] {
      let (model, inputs) = try Self.model(Self.cases[index])
      let exact = try FrozenTeacher(model, folds: false).trace(inputs).output
      let teacher = try FrozenTeacher(model, int8CalibratedOn: inputs)
      let quantized = try teacher.trace(inputs).output
      #expect(quantized.dtype == .float32)
      #expect(try teacher.counts(like: inputs)?.quantizedProducts ?? 0 > 5)
      let error = try (quantized - exact).norm().item() / exact.norm().item()
      #expect(error > 0 && error < 0.15, "\(Self.cases[index].name): \(error)")
    }
  }

  /// x + conv(x): a residual block of one convolution. What is added is what the convolution reads.
  private final class ShortResidual: Layer {
    let conv: Conv2d
    let isActive: Bool

    init(_ channels: Int, isActive: Bool = true) throws {
      conv = try Conv2d(channels, channels, kernel: 3, padding: 1)
      self.isActive = isActive
    }

    func forward(_ input: Tensor) throws -> Tensor {
      let sum = try conv(input) + input
      return isActive ? try sum.relu() : sum
    }
  }

  @Test("x + conv(x) in int8 is near float32: oneDNN does not add to what it is still to read")
  func int8ResidualsOfOneConvolution() throws {
    try withRandomStream(try RandomStream(seed: 4, name: "residual")) {
      let model = try Sequential {
        try Conv2d(3, 16, kernel: 3, padding: 1)
        ReLU()
        try ShortResidual(16)
        try ShortResidual(16)
        try ShortResidual(16, isActive: false)
        GlobalAvgPool2d()
        try Linear(16, 10)
      }
      let inputs = try Tensor.empty([32, 3, 16, 16]).drawUniform(from: -1, to: 2)
      let exact = try FrozenTeacher(model, folds: false).trace(inputs).output
      let teacher = try FrozenTeacher(model, int8CalibratedOn: inputs)
      let quantized = try teacher.trace(inputs).output
      #expect(try teacher.counts(like: inputs)?.quantizedProducts == 4)
      #expect(try teacher.counts(like: inputs)?.fused == 6)
      let error = try (quantized - exact).norm().item() / exact.norm().item()
      #expect(error > 0 && error < 0.03, "\(error)")
      #expect(try teacher.trace(inputs).output.floats() == quantized.floats())
    }
  }

  /// The batch is added to what comes last: as it is, or as another tensor with the same memory.
  private final class AddsItsInput: Layer {
    let conv: Conv2d
    let detaches: Bool

    init(detaches: Bool) throws {
      conv = try Conv2d(4, 4, kernel: 3, padding: 1)
      self.detaches = detaches
    }

    func forward(_ input: Tensor) throws -> Tensor {
      let same = detaches ? try input.detached() : input
      return try conv(input) + same
    }
  }

  @Test("A batch that a teacher in int8 adds to something stays as it is", arguments: [false, true])
  func batchesStayAsTheyAre(detaches: Bool) throws {
    try withRandomStream(try RandomStream(seed: 4, name: "batch")) {
      let model = try AddsItsInput(detaches: detaches)
      // In the order in which nothing would be copied.
      let inputs = try Tensor.empty([8, 4, 8, 8]).drawUniform(from: -1, to: 2).contiguous(.channelsLast)
      let before = try inputs.copied()
      let teacher = try FrozenTeacher(model, int8CalibratedOn: inputs)
      let exact = try withoutGradient { try model(inputs) }
      let quantized = try teacher.trace(inputs).output
      #expect(try inputs.equals(before).all())
      try assertClose(quantized, exact, relative: 0.02, absolute: 0.05)
    }
  }

  @Test func whatCannotBeQuantizedIsRefused() throws {
    let inputs = try Tensor.ones([6, 4])
    for model in [try Undecided(), try Linear(4, 3)] as [any Layer] {
      #expect(throws: DistillationError.self) { try FrozenTeacher(model, int8CalibratedOn: inputs) }
    }
  }
}
