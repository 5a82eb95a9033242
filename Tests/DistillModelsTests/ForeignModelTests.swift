import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// One model of `scripts/fixtures/foreign_models.py`.
struct ForeignFixture: Decodable, Sendable, CustomTestStringConvertible {
  var name: String
  var config: String?
  var files: [String: String]
  var specification: ModelSpecification?
  var keys: Int
  var digest: Int
  var extra: [ModelFixture.Entry]
  var input: [Int]?
  var tokens: [[Int]]?
  var output: [Double]?
  var float32: Double?

  var testDescription: String { name }

  static let all: [ForeignFixture] = {
    let path = URL(filePath: "\(fixtureFolder)/foreign-models.json")
    return try! JSONDecoder().decode([ForeignFixture].self, from: Data(contentsOf: path))
  }()

  static func named(_ name: String) throws -> ForeignFixture { try #require(all.first { $0.name == name }) }

  /// Writes the folder without the weights.
  func write(to folder: String, config changed: String? = nil) throws {
    var texts = files
    texts["config.json"] = changed ?? config
    for (name, text) in texts {
      let path = URL(filePath: "\(folder)/\(name)")
      try FileManager.default.createDirectory(
        at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: path)
    }
  }

  /// The model that the folder, or for libraries that write none the fixture, says.
  func model(in folder: String) throws -> any Layer {
    if config != nil { try write(to: folder) }
    let specification = try config == nil ? #require(specification) : ForeignModel(folder: folder).specification
    return try ModelZoo.make(specification)
  }

  /// The library's tensors as our table spells them, filled with the script's numbers, and those that we have no use for.
  func tensors(of model: any Layer, filled: Bool = true) throws -> (table: KeyTable?, [NamedTensor]) {
    let extra = try self.extra.map { NamedTensor(name: $0.key, tensor: try .zeros($0.shape)) }
    for table in [KeyTable?.none] + ((model as? any KnownElsewhere)?.keyTables ?? []) {
      let own = try model.state.map { NamedTensor(name: $0.name, tensor: try $0.tensor.detached()) }
      let tensors = try (table?.foreign(own) ?? own)
      guard Self.digest(tensors) == digest else { continue }
      return (table, try tensors.map { filled ? try Self.filled($0) : $0 } + extra)
    }
    throw ModelError(["no table of \(name) has the library's keys"])
  }

  /// FNV-1a over the sorted lines `key [sizes]`.
  static func digest(_ tensors: [NamedTensor]) -> Int {
    var hash: UInt32 = 0x811C_9DC5
    for line in tensors.map({ "\($0.name) \($0.tensor.shape)\n" }).sorted(by: {
      $0.utf8.lexicographicallyPrecedes($1.utf8)
    }) {
      for byte in line.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
    }
    return Int(hash)
  }

  private static func filled(_ named: NamedTensor) throws -> NamedTensor {
    let (name, tensor) = (named.name, named.tensor)
    guard tensor.dtype.isFloatingPoint else {
      return NamedTensor(name: name, tensor: try .zeros(tensor.shape, dtype: tensor.dtype))
    }
    let transform: (Double) -> Double
    if tensor.rank >= 2 {
      let bound = try (6 / Double(tensor.count / tensor.size(0))).squareRoot()
      transform = { (2 * $0 - 1) * bound }
    } else if name.hasSuffix("running_var") {
      transform = { 0.5 + $0 }
    } else if name.hasSuffix("weight") {
      transform = { 0.75 + 0.5 * $0 }
    } else {
      transform = { 0.2 * ($0 - 0.5) }
    }
    return NamedTensor(
      name: name, tensor: try Tensor(filler(name, tensor.count, transform), shape: tensor.shape))
  }

  func inputs() throws -> Tensor {
    if let tokens { return try Tensor(tokens.flatMap { $0.map { Float($0) } }, shape: #require(input)) }
    let shape = try #require(input)
    return try images(shape[0], Array(shape.dropFirst()))
  }
}

/// Folders of `transformers` and timm, and weights of torchvision, against those libraries.
@Suite struct ForeignModelTests {
  static let computed = ForeignFixture.all.filter { $0.output != nil }

  /// Names and shapes of all tensors, by a table of the family that works in both directions.
  @Test(arguments: ForeignFixture.all)
  func keysAndShapesAreTheLibrarys(fixture: ForeignFixture) throws {
    try withTemporaryFolder { folder in
      let model = try fixture.model(in: folder)
      let (table, tensors) = try fixture.tensors(of: model, filled: false)
      #expect(tensors.count == fixture.keys + fixture.extra.count, "no table of the family has the library's keys")
      guard let table else { return }
      let back = try table.ours(Checkpoint(tensors: tensors)).tensors
      #expect(back.map(\.name).sorted() == model.state.map(\.name).sorted())
      let shapes = Dictionary(uniqueKeysWithValues: model.state.map { ($0.name, $0.tensor.shape) })
      for named in back { #expect(named.tensor.shape == shapes[named.name], "\(named.name)") }
    }
  }

  @Test(arguments: computed)
  func outputsAreTheLibrarys(fixture: ForeignFixture) throws {
    try withTemporaryFolder { folder in
      let model = try fixture.model(in: folder)
      let tensors = try fixture.tensors(of: model).1
      let path = "\(folder)/model.safetensors"
      try Checkpoint.write(tensors, to: path)
      let loaded = try model.loadForeign(Checkpoint.read(path))
      #expect(loaded.unused.sorted() == fixture.extra.map(\.key).sorted())
      #expect(loaded.fresh.isEmpty)
      model.eval()
      let (input, expected) = (try fixture.inputs(), try #require(fixture.output))
      // Where the library's own numbers in float32 are farther from the exact ones than that, ours may be, too.
      let allowed = max(1e-5, try 3 * #require(fixture.float32))
      #expect(try relativeError(withoutGradient { try model(input) }, expected) < allowed)
      try model.move(to: .cpu, dtype: .float64)
      #expect(try relativeError(withoutGradient { try model(input.to(.float64)) }, expected) < 1e-6)
    }
  }

  /// A tensor that is missing, left over or misshapen is named in the library's spelling or in ours, and nothing is loaded.
  @Test(arguments: ["bert", "distilbert", "vit", "gpt2", "llama"])
  func whatDoesNotFitIsNamed(name: String) throws {
    try withTemporaryFolder { folder in
      let fixture = try ForeignFixture.named(name)
      let model = try fixture.model(in: folder)
      let tensors = try fixture.tensors(of: model).1
      let before = try model.state.map { try $0.tensor.doubles() }
      func problem(_ tensors: [NamedTensor]) -> String {
        do {
          try model.loadForeign(Checkpoint(tensors: tensors))
          return ""
        } catch { return "\(error)" }
      }
      #expect(problem(Array(tensors.dropFirst())).contains("missing in the file (1)"))
      let stranger = NamedTensor(name: "stranger.weight", tensor: try .zeros([2]))
      #expect(problem(tensors + [stranger]).contains("stranger.weight"))
      var misshapen = tensors
      misshapen[0] = NamedTensor(name: tensors[0].name, tensor: try .zeros([3, 3]))
      #expect(problem(misshapen).contains("of another shape or type (1)"))
      #expect(try model.state.map { try $0.tensor.doubles() } == before)
    }
  }

  @Test func aModelWithoutAHeadCanBeginATraining() throws {
    try withTemporaryFolder { folder in
      let fixture = try ForeignFixture.named("sentences")
      let tensors = try fixture.tensors(of: fixture.model(in: folder)).1
      var specification = try ForeignModel(folder: folder).specification
      specification.options["head"] = "classes"
      specification.classCount = 5
      let model = try ModelZoo.make(specification)
      #expect(throws: StateError.self) { try model.loadForeign(Checkpoint(tensors: tensors)) }
      let loaded = try model.loadForeign(Checkpoint(tensors: tensors), newHead: true)
      #expect(loaded.fresh == ["classifier.weight", "classifier.bias"])
      #expect(loaded.notices.contains { $0.contains("starts at random: classifier.weight") })
      let words = try #require(model.state.first { $0.name.hasSuffix("word_embeddings.weight") }).tensor
      let own = try #require(tensors.first { $0.name.hasSuffix("word_embeddings.weight") }).tensor
      #expect(try words.floats() == own.floats())
    }
  }

  @Test func aHeadForOtherClassesIsMadeAnew() throws {
    try withTemporaryFolder { folder in
      let fixture = try ForeignFixture.named("vit")
      let tensors = try fixture.tensors(of: fixture.model(in: folder)).1
      var specification = try ForeignModel(folder: folder).specification
      specification.classCount = 7
      let model = try ModelZoo.make(specification)
      #expect(throws: StateError.self) { try model.loadForeign(Checkpoint(tensors: tensors)) }
      #expect(try model.loadForeign(Checkpoint(tensors: tensors), newHead: true).fresh == ["head.weight", "head.bias"])
    }
  }

  @Test func configurationsSayClassesAndHowImagesCome() throws {
    try withTemporaryFolder { folder in
      try ForeignFixture.named("vit").write(to: folder)
      #expect(ForeignModel.isThere(folder))
      let vit = try ForeignModel(folder: folder)
      #expect(vit.library == .transformers && vit.name == "ViTForImageClassification")
      #expect(vit.labels == ["thing 0", "thing 1", "thing 2"])
      #expect(
        vit.preparation
          == ImagePreparation(
            size: [8, 8], shorterSide: nil, interpolation: .bilinear, mean: [0.5, 0.4, 0.3],
            standardDeviation: [0.2, 0.25, 0.5]))
      try ForeignFixture.named("timm tf_efficientnet_lite0").write(to: folder)
      let lite = try ForeignModel(folder: folder)
      #expect(lite.library == .timm && lite.name == "tf_efficientnet_lite0")
      #expect(lite.specification.inputShape == [3, 224, 224] && lite.labels.count == 5)
      #expect(
        lite.preparation
          == ImagePreparation(
            size: [224, 224], shorterSide: 256, interpolation: .bicubic, mean: [0.5, 0.5, 0.5],
            standardDeviation: [0.5, 0.5, 0.5]))
    }
    try withTemporaryFolder { folder in
      try ForeignFixture.named("sentences").write(to: folder)
      let sentences = try ForeignModel(folder: folder)
      #expect(sentences.specification.inputShape == [7])
      #expect(sentences.specification.options["pooling"] == "mean")
      #expect(sentences.specification.options["head"] == "unit-embedding")
      #expect(sentences.notices == ["no vocab.txt names '[SEP]': the second text of a pair is not told from the first"])
    }
  }

  /// Each change asks for something that is not done; the message names it, and what would be accepted.
  static let refused: [(fixture: String, from: String, to: String, words: [String])] = [
    ("bert", #""model_type": "bert""#, #""model_type": "bart""#, ["'bart'", "bert, roberta"]),
    ("bert", #""hidden_act": "gelu""#, #""hidden_act": "tanh""#, ["hidden_act is 'tanh'", "gelu, gelu_new"]),
    ("bert", #""is_decoder": false"#, #""is_decoder": true"#, ["is_decoder is true", "is_decoder: false"]),
    (
      "bert", #""hidden_size": 8"#, #""hidden_size": 8, "position_embedding_type": "relative_key""#,
      ["position_embedding_type is 'relative_key'", "absolute"]
    ),
    ("bert", #""hidden_size": 8"#, #""hidden_size": "8""#, ["hidden_size is '8'", "a whole number from 1"]),
    ("bert", #""hidden_size": 8"#, #""hidden_size": 9"#, ["2 heads do not divide the width 9"]),
    ("bert", #""num_hidden_layers": 2"#, #""num_hidden_layers": 2000000"#, ["num_hidden_layers is 2000000"]),
    ("bert", "BertForSequenceClassification", "BertForQuestionAnswering", ["BertForQuestionAnswering", "BertModel"]),
    ("bert", #""0": "no""#, #""5": "no""#, ["id2label has to name the classes 0 to 2"]),
    ("gpt2", #""activation_function": "gelu_new""#, #""activation_function": "relu""#, ["'relu'", "gelu_new"]),
    ("gpt2", #""n_inner": null"#, #""n_inner": 12"#, ["n_inner is 12", "32"]),
    ("llama", #""rope_type": "default""#, #""rope_type": "yarn""#, ["'yarn'", "accepted is default"]),
    ("llama", #""attention_bias": false"#, #""attention_bias": true"#, ["attention_bias is true"]),
    ("vit", #""qkv_bias": true"#, #""qkv_bias": false"#, ["qkv_bias is false"]),
    ("resnet18", #""depths": [2, 2, 2, 2]"#, #""depths": [2, 2, 2, 3]"#, ["18, 34, 50, 101 and 152"]),
    (
      "timm efficientnet_b0", #""architecture": "efficientnet_b0""#, #""architecture": "convnext_tiny""#,
      ["'convnext_tiny'", "efficientnet_b0 to b7"]
    ),
    (
      "timm efficientnet_b0", #""interpolation": "bicubic""#, #""interpolation": "lanczos""#,
      ["'lanczos'", "bicubic, bilinear"]
    ),
  ]

  @Test(arguments: refused.indices)
  func whatIsNotDoneIsRefusedByName(index: Int) throws {
    let refused = Self.refused[index]
    let fixture = try ForeignFixture.named(refused.fixture)
    let config = try #require(fixture.config)
    #expect(config.contains(refused.from))
    try withTemporaryFolder { folder in
      try fixture.write(to: folder, config: config.replacingOccurrences(of: refused.from, with: refused.to))
      let error = #expect(throws: ModelError.self) { try ForeignModel(folder: folder) }
      let message = error?.description ?? ""
      #expect(message.hasPrefix("\(folder)/config.json: "))
      for word in refused.words { #expect(message.contains(word), "\(message)") }
    }
  }

  @Test(arguments: [
    "", "{", "[]", "null", #"{"model_type": 3}"#, #"{"a": 1, "a": 2}"#, #"{"architecture": "resnet18"}"#,
  ])
  func damagedConfigurationsAreRefused(text: String) throws {
    try withTemporaryFolder { folder in
      try Data(text.utf8).write(to: URL(filePath: "\(folder)/config.json"))
      if text.contains("resnet18") {
        #expect(try ForeignModel(folder: folder).specification.architecture == "resnet")
        #expect(!ForeignModel.isThere(folder))
      } else {
        #expect(throws: (any Error).self) { try ForeignModel(folder: folder) }
      }
    }
  }
}
