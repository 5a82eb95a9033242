import TestSupport
import Testing
import Torch
import TorchNN

private final class Block: Layer {
  let conv1 = try! Conv2d(4, 4, kernel: 3, padding: 1, bias: false)
  let bn1 = try! BatchNorm(4)
  let downsample: Sequential? = try! Sequential {
    try Conv2d(4, 4, kernel: 1)
    try BatchNorm(4)
  }

  func forward(_ input: Tensor) throws -> Tensor { try bn1(conv1(input)) + (downsample?(input) ?? input) }
}

/// The model `Composed` of scripts/fixtures/layers.py.
private final class Composed: Module {
  let stem = try! Sequential {
    try Conv2d(1, 4, kernel: 3)
    try BatchNorm(4)
    ReLU()
  }
  let layer1 = [Block(), Block()]
  let encoder: [any Module] = [try! MultiHeadAttention(4, heads: 2), try! LayerNorm(4)]
  let rnn = try! LSTM(4, 3, layers: 2, bidirectional: true)
  let wordEmbeddings = try! Embedding(5, 4)
  let classifier = try! Linear(4, 2)
}

private class Base: Module {
  static var keys: [String: String] { ["special": "spelled.out"] }
  @Parameter var baseWeight = try! Tensor.ones([1])
  @Buffer var special = try! Tensor.ones([2])
}

private final class Derived: Base {
  @Parameter var ownWeight = try! Tensor.ones([3])
  let inner: Linear? = try! Linear(1, 1, bias: false)
  let absent: Linear? = nil
  let blocks: [Linear] = []
  var unrelated = "text"
}

private final class Tied: Layer {
  let embedding = try! Embedding(5, 4)
  let head = try! Linear(4, 5, bias: false)

  init() { head.weight = embedding.weight }

  func forward(_ input: Tensor) throws -> Tensor { try head(embedding(input)) }
}

struct KeyTests {
  let fixture = try! Fixture("layers")

  private func lines(_ key: String) throws -> [String] {
    String(decoding: try fixture[key].array(of: UInt8.self), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  private func expectKeys(_ module: any Module, of name: String) throws {
    let expected = try zip(lines("keys/\(name)"), lines("shapes/\(name)")).map { "\($0) [\($1)]" }
    let found = module.state.map { "\($0.name) [\($0.tensor.shape.map(String.init).joined(separator: ","))]" }
    #expect(found.sorted() == expected.sorted())
  }

  @Test func keysAndShapesEqualPyTorch() throws {
    try expectKeys(Composed(), of: "composed")
    try expectKeys(GRU(2, 3, layers: 2, bidirectional: true), of: "gru")
    try expectKeys(
      Sequential {
        try Linear(2, 3)
        ReLU()
        try Sequential {
          try Linear(3, 3)
          try GroupNorm(3, groups: 3)
        }
      }, of: "sequential")
  }

  @Test func theOrderIsThatOfDeclaration() throws {
    let names = Composed().state.map(\.name)
    #expect(names.prefix(3) == ["stem.0.weight", "stem.0.bias", "stem.1.weight"])
    #expect(names.last == "classifier.bias")
  }

  @Test func inheritedOptionalAndEmptyProperties() {
    let module = Derived()
    #expect(module.state.map(\.name) == ["base_weight", "spelled.out", "own_weight", "inner.weight"])
    #expect(module.namedParameters.map(\.name) == ["base_weight", "own_weight", "inner.weight"])
    #expect(module.namedBuffers.map(\.name) == ["spelled.out"])
    #expect(module.parameterCount == 5)
    #expect(module.namedModules.map(\.path) == ["", "inner"])
  }

  @Test func tiedTensorsAreListedOnce() throws {
    let tied = Tied()
    #expect(tied.state.map(\.name) == ["embedding.weight"])
    #expect(tied.parameterCount == 20)
    try tied(Tensor([1, 2])).sum().backward()
    #expect(tied.parameters[0].gradient != nil)
    try tied.move(to: .cpu, dtype: .float64)
    #expect(tied.head.weight === tied.embedding.weight, "they stay tied when they are moved")
    #expect(tied.head.weight.dtype == .float64 && tied.head.weight.requiresGradient)
  }

  @Test func aBiasThatIsLeftOutHasNoKey() throws {
    #expect(try Linear(2, 2, bias: false).state.map(\.name) == ["weight"])
    #expect(try Linear(2, 2, bias: false).bias == nil)
  }

  @Test func modulesAreFoundByPath() {
    let module = Composed()
    #expect(module.module(at: "layer1.1.downsample.0") is Conv2d)
    #expect(module.module(at: "") === module)
    #expect(module.module(at: "layer1.2") == nil)
    #expect(module.path(of: module.layer1[1].bn1) == "layer1.1.bn1")
    #expect(Composed().path(of: module.classifier) == nil)
  }

  @Test func movingChangesTypesThatFloat() throws {
    let model = try Sequential {
      try Linear(2, 2)
      try BatchNorm(2)
      try LSTM(2, 2)
    }
    try model.move(to: .cpu, dtype: .float64)
    for named in model.state {
      #expect(named.tensor.dtype == (named.name == "1.num_batches_tracked" ? .int64 : .float64), "\(named.name)")
    }
    #expect(model.parameters.allSatisfy { $0.requiresGradient })
    #expect(model.namedBuffers.allSatisfy { !$0.tensor.requiresGradient })
    #expect(model.state.contains { $0.name == "2.weight_hh_l0" })
  }
}

struct SequentialTests {
  @Test func theBuilderTakesEveryForm() throws {
    func build(_ flag: Bool, _ maybe: (any Layer)?) throws -> Sequential {
      try Sequential {
        try Linear(2, 2)
        if flag { ReLU() } else { Tanh() }
        if flag { Sigmoid() }
        if let maybe { maybe }
        for _ in 0..<2 { Identity() }
        [Flatten() as any Layer]
      }
    }
    func kinds(_ model: Sequential) -> [String] { model.layers.map { "\(type(of: $0))" } }
    #expect(
      try kinds(build(true, ELU())) == ["Linear", "ReLU", "Sigmoid", "ELU", "Identity", "Identity", "Flatten"])
    #expect(try kinds(build(false, nil)) == ["Linear", "Tanh", "Identity", "Identity", "Flatten"])
    let empty = Sequential([])
    let input = try Tensor.ones([1])
    #expect(try empty(input) === input)
  }
}

struct ModeTests {
  private func modes(_ module: any Module) -> [Bool] {
    module.namedModules.compactMap { ($0.module as? any ModeDependent)?.isTraining }
  }

  @Test func trainAndEvalReachEveryModule() throws {
    let model = try Sequential {
      try BatchNorm(2)
      try Sequential { try Dropout(0.5) }
      try LSTM(2, 2)
    }
    #expect(modes(model) == [true, true, true], "a new model is in training mode")
    model.eval()
    #expect(modes(model) == [false, false, false])
    model.train()
    #expect(modes(model) == [true, true, true])
  }

  private struct Planned: Error {}

  @Test func withModePutsEachModuleBack() throws {
    let model = try Sequential {
      try BatchNorm(2)
      try Dropout(0.5)
    }
    (model.layers[0] as? BatchNorm)?.isTraining = false
    model.withMode(training: true) { #expect(modes(model) == [true, true]) }
    #expect(modes(model) == [false, true])
    #expect(throws: Planned.self) { try model.withMode(training: false) { throw Planned() } }
    #expect(modes(model) == [false, true])
  }

  @Test func evaluationChangesNothingAndDropsNothing() throws {
    let model = try TinyModel.convNet()
    let input = try Tensor.empty([4, 1, 8, 8]).drawNormal()
    model.eval()
    let before = try model.state.map { try $0.tensor.doubles() }
    let first = try model(input).doubles()
    #expect(try model(input).doubles() == first)
    #expect(try model.state.map { try $0.tensor.doubles() } == before)
    model.train()
    #expect(try model(input).doubles() != first)
    #expect(try model.state.map { try $0.tensor.doubles() } != before, "running mean and variance moved")
  }
}

struct TapTests {
  private func model() throws -> Sequential { try TinyModel.convNet() }

  @Test func activationsAreRecorded() throws {
    let model = try model()
    model.eval()
    let input = try Tensor.empty([3, 1, 8, 8]).drawNormal()
    let taps = [Tap("2"), Tap("2", .input), Tap("1"), Tap("", .input), Tap("")]
    let trace = try model.trace(input, taps: taps)
    #expect(trace.activations.count == 5)
    #expect(try trace.activation(at: Tap("2", .input)) === trace.activation(at: Tap("1")))
    try assertClose(trace.activation(at: Tap("2")), trace.activation(at: Tap("1")).relu())
    #expect(try trace.activation(at: Tap("", .input)) === input)
    #expect(try trace.activation(at: Tap("")) === trace.output)
    #expect(try trace.output.doubles() == model(input).doubles())
    #expect(try model.trace(input).activations.isEmpty)
  }

  @Test func aPathThatMatchesNothingListsNearOnes() throws {
    let model = try Sequential {
      try Sequential { try Linear(2, 2) }
      try MultiHeadAttention(2, heads: 1)
    }
    let error = try #require(throws: TapError.self) { try model.trace(.zeros([1, 2, 2]), taps: [Tap("0.1")]) }
    #expect(error.path == "0.1" && error.suggestions.contains("0.0"))
    #expect(error.description.contains("no module '0.1'") && error.description.contains("0.0"))
    let near = try #require(throws: TapError.self) { try model.trace(.zeros([1, 2, 2]), taps: [Tap("1.out_porj")]) }
    #expect(near.suggestions.first == "1.out_proj")
    let far = try #require(throws: TapError.self) { try model.trace(.zeros([1, 2, 2]), taps: [Tap("classifier")]) }
    #expect(far.suggestions.isEmpty)
  }

  @Test func aModuleThatIsNotCalledIsAnError() throws {
    let model = try Sequential { try MultiHeadAttention(2, heads: 1) }
    #expect(throws: TapError.self) { try model.trace(.zeros([1, 2, 2]), taps: [Tap("0.out_proj")]) }
    #expect(throws: TapError.self) { try Trace(output: .zeros([1])).activation(at: Tap("a")) }
  }

  @Test func modulesWithACallOfTheirOwnAreRecorded() throws {
    final class Reader: Layer {
      let rnn = try! LSTM(2, 3)
      func forward(_ input: Tensor) throws -> Tensor { try rnn(input, state: nil).hidden }
    }
    let reader = Reader()
    let trace = try reader.trace(.ones([1, 4, 2]), taps: [Tap("rnn"), Tap("rnn", .input)])
    #expect(try trace.activation(at: Tap("rnn")).shape == [1, 4, 3])
    #expect(try trace.activation(at: Tap("rnn", .input)).shape == [1, 4, 2])
    #expect(trace.output.shape == [1, 1, 3])
  }

  @Test func nearNamesAreFound() {
    let names = ["layer1", "layer2", "layer3.conv", "fc"]
    #expect(closest(to: "layr1", in: names).first == "layer1")
    #expect(closest(to: "layer3", in: names).contains("layer3.conv"))
    #expect(closest(to: "cf", in: names) == ["fc"])
    #expect(closest(to: "something", in: names).isEmpty)
  }
}

struct ErrorPathTests {
  @Test func aFailureNamesItsModule() throws {
    let model = try Sequential {
      try Linear(4, 3)
      try Sequential {
        ReLU()
        try Linear(5, 2)
      }
    }
    let error = try #require(throws: TorchError.self) { try model(.zeros([2, 4])) }
    #expect(error.modulePath == "1.1")
    #expect(error.description.hasPrefix("in 1.1: distill::linear"))
    let inner = try #require(throws: TorchError.self) { try Linear(4, 3)(.zeros([2, 5])) }
    #expect(inner.modulePath == "Linear", "alone it has no path, only a kind")
    #expect(try #require(throws: TorchError.self) { try Tensor.zeros([2]).item() }.modulePath.isEmpty)
  }

  @Test func aFailureInAModuleWithACallOfItsOwnNamesIt() throws {
    final class Reader: Layer {
      let rnn = try! GRU(2, 3)
      func forward(_ input: Tensor) throws -> Tensor { try rnn(input, hidden: nil).output }
    }
    let model = Sequential([Reader()])
    let error = try #require(throws: TorchError.self) { try model(.zeros([1, 4, 7])) }
    #expect(error.modulePath == "0.rnn")
  }
}

struct SummaryTests {
  @Test func countsOfEachLayer() throws {
    let model = try Sequential {
      try Conv2d(2, 4, kernel: 3, padding: 1, groups: 2)
      try BatchNorm(4)
      ReLU()
      GlobalAvgPool2d()
      try Linear(4, 10)
    }
    let summary = try model.summary(inputShape: [2, 5, 5])
    #expect(summary.rows.map(\.path) == ["0", "1", "2", "3", "4"])
    #expect(summary.rows.map(\.kind) == ["Conv2d", "BatchNorm", "ReLU", "GlobalAvgPool2d", "Linear"])
    #expect(summary.rows.map(\.outputShape) == [[4, 5, 5], [4, 5, 5], [4, 5, 5], [4], [10]])
    #expect(summary.rows.map(\.parameters) == [40, 8, 0, 0, 50])
    #expect(summary.rows.map(\.multiplyAdds) == [900, 0, 0, 0, 40])
    #expect(summary.parameters == 98 && summary.multiplyAdds == 940)
    #expect(summary.bytes == 4 * (98 + 8) + 8)
    #expect(
      try model.layers[1] as? BatchNorm === model.layers[1] && (model.layers[1] as! BatchNorm).batchCount.item() == 0)
  }

  @Test func countsOfSequenceLayers() throws {
    // Four maps of 8 → 8 for each of 5 rows, and for each pair of rows a product of 8 and a sum of 8.
    #expect(try MultiHeadAttention(8, heads: 2).summary(inputShape: [5, 8]).multiplyAdds == 5 * 4 * 64 + 25 * 16)
    #expect(try LSTM(3, 4).summary(inputShape: [5, 3]).multiplyAdds == 5 * 4 * 4 * (3 + 4))
    let stack = try GRU(3, 4, layers: 2, bidirectional: true).summary(inputShape: [5, 3])
    #expect(stack.multiplyAdds == 5 * 2 * 3 * 4 * ((3 + 4) + (8 + 4)))
    #expect(try Conv1d(4, 6, kernel: 3, groups: 2).summary(inputShape: [4, 9]).multiplyAdds == 6 * 7 * 2 * 3)
  }

  @Test func aTableIsPrinted() throws {
    let model = try Sequential {
      try Linear(784, 1200)
      ReLU()
    }
    #expect(
      try model.summary(inputShape: [784]).description == """
        layer  kind    output           parameters  multiply-adds
        ─────────────────────────────────────────────────────────
        0      Linear  1200                942,000        940,800
        1      ReLU    1200                      0              0
        ─────────────────────────────────────────────────────────
        total          3,768,000 bytes     942,000        940,800
        """)
  }
}
