import DistillModels
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct PruningTests {
  /// One case of `scripts/fixtures/pruning.py`.
  struct Case: Decodable, Sendable, CustomTestStringConvertible {
    var name: String
    var architecture: String
    var teacher: [String: OptionValue]
    var student: [String: OptionValue]
    var inputShape: [Int]
    var criterion: String
    var kept: [[Int]]
    var eval: [Double]

    var testDescription: String { name }

    static let all: [Case] = {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      return try! decoder.decode(
        [Case].self, from: Data(contentsOf: URL(filePath: "\(fixtureFolder)/pruning.json")))
    }()

    func make(_ options: [String: OptionValue]) throws -> any Layer {
      try ModelZoo.make(ModelSpecification(architecture, options, inputShape: inputShape, classCount: 5))
    }
  }

  /// The numbers of `filler` in `scripts/fixtures/models.py`.
  static func filler(_ name: String, _ count: Int) -> [Double] {
    let seed = name.utf8.reduce(UInt32(0x811C_9DC5)) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    return (0..<UInt32(count)).map { place in
      var hash = (place &+ 1) &* 2_654_435_761 &+ seed
      hash ^= hash >> 15
      hash = hash &* 0x85EB_CA6B
      hash ^= hash >> 13
      return Double(hash) * 0x1p-32
    }
  }

  /// Overwrites parameters and buffers with the script's numbers.
  static func fill(_ model: any Module) throws {
    for entry in model.state where !entry.name.hasSuffix("num_batches_tracked") {
      let tensor = entry.tensor
      let bound = tensor.rank >= 2 ? try (6 / Double(tensor.count / tensor.size(0))).squareRoot() : 0
      let values = filler(entry.name, tensor.count).map { number in
        if tensor.rank >= 2 { return (2 * number - 1) * bound }
        if entry.name.hasSuffix("running_var") { return 0.5 + number }
        return entry.name.hasSuffix("weight") ? 0.75 + 0.5 * number : 0.2 * (number - 0.5)
      }
      try withoutGradient { try tensor.copy(from: Tensor(values, shape: tensor.shape)) }
    }
  }

  static func images(_ count: Int, _ shape: [Int]) throws -> Tensor {
    let shape = [count] + shape
    return try Tensor(filler("input", shape.reduce(1, *)).map { 3 * $0 - 1.5 }, shape: shape).to(.float32)
  }

  /// In evaluation mode.
  static func answer(_ model: any Layer, _ input: Tensor) throws -> Tensor {
    try model.withMode(training: false) { try withoutGradient { try model(input) } }
  }

  static let criteria = Pruning.Criterion.allCases

  @Test(arguments: Case.all)
  func whatStaysAndWhatThePrunedModelAnswersArePyTorchs(example: Case) throws {
    let teacher = try example.make(example.teacher)
    let student = try example.make(example.student)
    try Self.fill(teacher)
    let choices = try Pruning.start(
      student: student, fromTeacher: teacher, by: try #require(Pruning.Criterion(rawValue: example.criterion)))
    // The script counts from the beginning of each set.
    let kept = choices.map { choice in choice.kept.map { $0 - choice.channels.lowerBound } }
    #expect(
      kept.sorted { $0.lexicographicallyPrecedes($1) } == example.kept.sorted { $0.lexicographicallyPrecedes($1) })
    let scale = try #require(example.eval.map(abs).max())
    try assertClose(
      Self.answer(student, Self.images(2, example.inputShape)), Tensor(example.eval, shape: [2, 5]), relative: 0,
      absolute: 1e-4 * scale)
  }

  @Test func everyCriterionAndFamilyIsInTheFixture() {
    #expect(Set(Case.all.map(\.criterion)) == Set(Self.criteria.map(\.rawValue)))
    let families = Set(Case.all.map(\.architecture))
    // resnet has no widths to choose; layer normalization mixes those of transformers; the student inside another model is
    // pruned by itself; the windows of texts stay; blocks with weighed channels are in a test of their own.
    let others: Set = [
      "resnet", "decoder", "llama", "bert", "text-cnn", "vit", "reused-classifier", "efficientnet", "mobilenet-v3",
    ]
    #expect(Set(ModelZoo.architectures.map(\.name)).subtracting(families).isSubset(of: others))
  }

  /// What is dropped may be anything; if it is zero in the teacher, the student computes what the teacher does.
  @Test(arguments: Case.all)
  func droppedChannelsOfZerosChangeNothing(example: Case) throws {
    try Self.dropZeros(
      of: try example.make(example.teacher), for: try example.make(example.student),
      by: try #require(Pruning.Criterion(rawValue: example.criterion)), example.inputShape)
  }

  /// The families whose blocks weigh their channels, to half of their width: of widths where rounding to a multiple of 8
  /// leaves the same blocks with a sum.
  @Test(arguments: [
    ModelSpecification("efficientnet", ["width": 1.0], inputShape: [3, 40, 40], classCount: 5),
    ModelSpecification("efficientnet", ["width": 1.0, "lite": true], inputShape: [3, 40, 40], classCount: 5),
    ModelSpecification("mobilenet-v3", ["width": 0.5], inputShape: [3, 40, 40], classCount: 5),
  ])
  func weighedChannelsArePruned(specification: ModelSpecification) throws {
    var thin = specification
    thin.options["width"] = specification.architecture == "efficientnet" ? 0.5 : 0.25
    try Self.dropZeros(
      of: try ModelZoo.make(specification), for: try ModelZoo.make(thin), by: .l1, specification.inputShape)
  }

  private static func dropZeros(
    of teacher: any Layer, for student: any Layer, by criterion: Pruning.Criterion, _ shape: [Int]
  ) throws {
    try Self.fill(teacher)
    let input = try Self.images(2, shape)
    let whole = try Self.answer(teacher, input)
    let dropped = try Self.zeroed(teacher, but: Pruning.start(student: student, fromTeacher: teacher, by: criterion))
    let expected = try Self.answer(teacher, input)
    let change = try (expected - whole).absolute().maximum(along: 0, 1).item()
    #expect(dropped > 0 && change > 1e-3, "what was dropped counted before it was zero")
    try Pruning.start(student: student, fromTeacher: teacher, by: criterion)
    let scale = try #require(expected.doubles().map(abs).max())
    try assertClose(Self.answer(student, input), expected, relative: 0, absolute: 2e-6 * max(1, scale))
  }

  /// Sets what makes channels to zero, all but those that stay, and leaves what reads them; gives how many those are.
  static func zeroed(_ teacher: any Module, but choices: [Pruning.Choice]) throws -> Int {
    let graph = try ChannelGraph(of: teacher)
    // Which space each choice is about: that which stands there in the layer.
    var lost: [Int: [Int]] = [:]
    for choice in choices {
      let weight = try #require(teacher.state.first { $0.name == "\(choice.layer).weight" }).tensor
      for use in graph.uses(of: weight) {
        var start = 0
        for space in use.spaces {
          if start == choice.channels.lowerBound, graph.size(of: space) == choice.channels.count, lost[space] == nil,
            use.role != .inputs
          {
            lost[space] = choice.channels.filter { !choice.kept.contains($0) }.map { $0 - start }
          }
          start += graph.size(of: space)
        }
      }
    }
    for named in teacher.state where !named.name.hasSuffix("running_var") {
      for use in graph.uses(of: named.tensor) where use.role != .inputs {
        var start = 0
        for space in use.spaces {
          for channel in lost[space] ?? [] {
            try withoutGradient { _ = try named.tensor.selected(use.dimension, start + channel).fill(0) }
          }
          start += graph.size(of: space)
        }
      }
    }
    return lost.values.reduce(0) { $0 + $1.count }
  }

  @Test func aStudentAsWideAsTheTeacherIsItsCopy() throws {
    let specification = ModelSpecification("resnet", ["depth": 50], inputShape: [3, 16, 16], classCount: 5)
    let teacher = try ModelZoo.make(specification)
    let student = try ModelZoo.make(specification)
    try Self.fill(teacher)
    #expect(try Pruning.start(student: student, fromTeacher: teacher).isEmpty)
    for (mine, theirs) in zip(student.state, teacher.state) {
      #expect(try mine.tensor.doubles() == theirs.tensor.doubles(), "\(mine.name)")
    }
  }

  @Test func theStrongestStayInTheirOrderAndOfEqualsTheFirst() throws {
    func mlp(_ width: Int) throws -> Sequential {
      try Sequential {
        try Linear(2, width)
        ReLU()
        try Linear(width, 1)
      }
    }
    let teacher = try mlp(4)
    try teacher.load(
      Checkpoint(tensors: [
        NamedTensor(name: "0.weight", tensor: Tensor([1, 1, 0, 1.9, -2, 1, 1, -1] as [Float], shape: [4, 2])),
        NamedTensor(name: "0.bias", tensor: Tensor([10, 20, 30, 40] as [Float])),
        NamedTensor(name: "2.weight", tensor: Tensor([5, 6, 7, 8] as [Float], shape: [1, 4])),
        NamedTensor(name: "2.bias", tensor: Tensor([9] as [Float])),
      ]))
    let student = try mlp(2)
    let choice = try #require(Pruning.start(student: student, fromTeacher: teacher, by: .l1).first)
    #expect(choice.layer == "0" && choice.channels == 0..<4 && choice.kept == [0, 2])
    #expect(try student.state.map { try $0.tensor.doubles() } == [[1, 1, -2, 1], [10, 30], [5, 7], [9]])
    #expect(try Pruning.start(student: student, fromTeacher: teacher, by: .l2)[0].kept == [1, 2])
    #expect(try student.state.map { try $0.tensor.floats() } == [[0, 1.9, -2, 1], [20, 30], [6, 7], [9]])
    #expect(student.parameters.allSatisfy { $0.requiresGradient })
  }

  /// Two branches laid side by side, one of them also added to the input, and depthwise and grouped convolutions: a
  /// model of one's own.
  final class Branches: Layer, Prunable {
    let stem: Conv2d
    let left: Sequential
    let right: Conv2d
    let norm: BatchNorm
    let head: Linear

    init(_ width: Int, groups: Int = 1) throws {
      stem = try Conv2d(1, width, kernel: 1)
      left = try Sequential {
        try Conv2d(width, width, kernel: 3, padding: 1, groups: width)
        try Conv2d(width, width, kernel: 1)
      }
      right = try Conv2d(width, 2 * width, kernel: 1, groups: groups)
      norm = try BatchNorm(3 * width)
      head = try Linear(3 * width * 4, 2)
    }

    func forward(_ input: Tensor) throws -> Tensor {
      let stem = try stem(input)
      let both = try Tensor.concatenated([left(stem) + stem, right(stem)], along: 1)
      return try head(norm(both).relu().flattened(from: 1))
    }

    func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
      let stem = try graph.follow(channels, through: stem)
      let both = try graph.concatenated([
        graph.join(graph.follow(stem, through: left), stem), graph.follow(stem, through: right),
      ])
      return try graph.follow(graph.follow(both, through: norm).flattened, through: head)
    }
  }

  @Test(arguments: criteria)
  func modelsOfOnesOwnArePrunedToo(criterion: Pruning.Criterion) throws {
    let teacher = try Branches(6)
    let student = try Branches(4)
    try Self.fill(teacher)
    let choices = try Pruning.start(student: student, fromTeacher: teacher, by: criterion)
    #expect(choices.map(\.layer) == ["stem", "right"] && choices.map(\.channels) == [0..<6, 0..<12])
    #expect(try Self.zeroed(teacher, but: choices) == 6)
    try Pruning.start(student: student, fromTeacher: teacher, by: criterion)
    let input = try Self.images(3, [1, 2, 2])
    try assertClose(Self.answer(student, input), Self.answer(teacher, input), relative: 1e-5, absolute: 1e-5)
  }

  @Test func aPrunedStudentTrains() throws {
    let student = try Branches(4)
    try Pruning.start(student: student, fromTeacher: Branches(6))
    try student(Self.images(3, [1, 2, 2])).sum().backward()
    #expect(student.parameters.allSatisfy { $0.gradient != nil })
  }

  // MARK: What is refused

  func refusal(
    _ student: any Module, _ teacher: any Module, by criterion: Pruning.Criterion = .l1,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    let before = try student.state.map { try $0.tensor.doubles() }
    let error = #expect(throws: DistillationError.self, sourceLocation: sourceLocation) {
      try Pruning.start(student: student, fromTeacher: teacher, by: criterion)
    }
    #expect(try student.state.map { try $0.tensor.doubles() } == before, sourceLocation: sourceLocation)
    return error?.description ?? ""
  }

  func make(
    _ architecture: String, _ options: [String: OptionValue], shape: [Int] = [1, 8, 8], classes: Int = 3
  ) throws -> any Layer {
    try ModelZoo.make(ModelSpecification(architecture, options, inputShape: shape, classCount: classes))
  }

  @Test func allPlacesWhereTheStudentIsWiderAreNamed() throws {
    let text = try refusal(make("mlp", ["hidden": [8, 3, 9]]), make("mlp", ["hidden": [6, 4, 5]]))
    #expect(
      text == """
        the student cannot be pruned from the teacher; nothing was written
          hidden.0.linear has 8 channels in the student and only 6 in the teacher
          hidden.2.linear has 9 channels in the student and only 5 in the teacher
        """)
  }

  @Test func otherArchitecturesAndDepthsAreRefused() throws {
    let other = try refusal(make("mlp", ["hidden": 4]), make("convnet", ["widths": [4, 4]]))
    #expect(other.contains("they are not of the same architecture and depth"))
    #expect(other.contains("hidden.0.linear.weight [4, 64] is not in the teacher"))
    #expect(other.contains("features.0.conv.weight [4, 1, 3, 3] of the teacher is not in the student"))
    let shallow = try refusal(make("resnet-cifar", ["depth": 8]), make("resnet-cifar", ["depth": 14]))
    #expect(shallow.contains("layer1.1.conv1.weight [16, 16, 3, 3] of the teacher is not in the student"))
    #expect(shallow.contains("… and"))
  }

  @Test func otherInputsAndClassesAreRefused() throws {
    let teacher = try make("mlp", ["hidden": 6])
    #expect(
      try refusal(make("mlp", ["hidden": 4], classes: 2), teacher).contains(
        "output has 2 inputs or outputs of the model in the student and 3 in the teacher"))
    #expect(
      try refusal(make("mlp", ["hidden": 4], shape: [1, 4, 4]), teacher).contains("hidden.0.linear has 16 inputs"))
    let flat = ["widths": [4, 4], "head": "flatten"] as [String: OptionValue]
    #expect(
      try refusal(make("convnet", flat), make("convnet", flat, shape: [1, 16, 16])).contains(
        "classifier.weight is [3, 16] in the student and [3, 64] in the teacher"))
    #expect(
      try refusal(make("convnet", ["widths": [4], "kernel": 3]), make("convnet", ["widths": [6], "kernel": 5]))
        .contains(
          "features.0.conv.weight is [4, 1, 3, 3] in the student and [6, 1, 5, 5] in the teacher"))
  }

  @Test func scalesAreOnlyThereWithBatchNormalization() throws {
    let text = try refusal(make("mlp", ["hidden": 4]), make("mlp", ["hidden": 6]), by: .batchNormScale)
    #expect(text.contains("hidden.0.linear: its channels pass no batch normalization") && text.contains("l1 or l2"))
  }

  /// At this width two stages of the student have equally many channels, and a shortcut that the teacher lacks.
  @Test func shortcutsThatOnlyOneOfThemHasAreRefused() throws {
    let text = try refusal(
      make("mobilenet-v2", ["width": 0.05], shape: [3, 32, 32]),
      make("mobilenet-v2", ["width": 0.5], shape: [3, 32, 32]))
    #expect(text.contains("joins with others and the other does not"))
  }

  @Test func modulesThatDoNotSayTheirChannelsAreNamed() throws {
    func description(_ model: any Module) -> String {
      #expect(throws: ChannelError.self) { try Pruning.start(student: model, fromTeacher: model) }?.description ?? ""
    }
    #expect(try description(LayerNorm([4])).hasPrefix("the model is a LayerNorm, which does not say"))
    let inside = Sequential([try Linear(4, 4), Sequential([try LayerNorm([4])])])
    #expect(description(inside).contains("1.0 is a LayerNorm"))
    #expect(
      try description(Branches(4, groups: 2)).hasPrefix("right: a convolution with 2 groups and 8 output channels"))
    let narrow = Sequential([try Linear(4, 3), try Linear(4, 2)])
    #expect(description(narrow) == "1: dimension 1 of a tensor [2, 4] does not count 3 channels")
  }
}
