import DistillModels
import Distillation
import Foundation

// Two layers learn where MiniLM's six put sentences: sentence-embeddings TEXTS MODEL [--seed N]. TEXTS is a folder with
// train.csv and test.csv, MODEL one of sentence-transformers' with mean pooling.
let arguments = CommandLine.arguments
guard arguments.count >= 3, let seed = arguments.count > 4 ? UInt64(arguments[4]) : 1 else {
  FileHandle.standardError.write(Data("usage: sentence-embeddings TEXTS MODEL [--seed N]\n".utf8))
  exit(2)
}
let folder = arguments[2]
try TorchRuntime.setThreadCount(2)
let (training, test) = try LabelledTexts(tokenizer: folder, length: 16).load(arguments[1])

func load(_ specification: ModelSpecification) throws -> any FeatureClassifier { try ModelZoo.make(specification) }

// The teacher gives rows of length 1; `last_features` is the row before that.
var specification = try ForeignModel(folder: folder).specification
specification.inputShape = training.exampleShape
let teacher = try load(specification)
try teacher.loadForeign(Checkpoint.read("\(folder)/model.safetensors"))
specification.options["depth"] = 2

/// A student with the teacher's embeddings and its third and last layer.
@MainActor func student() throws -> any FeatureClassifier {
  let student = try load(specification)
  let layers = try LayerCopy.layers(
    .every(3), student: "bert.encoder.layer.{}", teacher: "bert.encoder.layer.{}", in: student, from: teacher.state)
  try student.copyLayers([LayerCopy("bert.embeddings")] + layers, from: teacher.state)
  return student
}

/// Where a model puts the texts for testing: rows of length 1.
@MainActor func rows(_ model: any Layer) throws -> [[Double]] {
  let flat: [Double] = try EvaluationSet(test, normalization: nil).logits(of: model).to(.float64).array()
  return stride(from: 0, to: flat.count, by: 384).map { Array(flat[$0..<$0 + 384]) }
}

/// Pairs of texts that nobody was trained on; the same for all seeds.
let pairs: [(Int, Int)] = {
  var random = RandomSource(seed: 0, "pairs")
  return (0..<20_000).map { _ in
    let first = Int.random(in: 0..<test.count, using: &random)
    let other = Int.random(in: 0..<test.count - 1, using: &random)
    return (first, other < first ? other : other + 1)
  }
}()

func cosine(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }

let wanted = try rows(teacher)
let similarities = pairs.map { cosine(wanted[$0.0], wanted[$0.1]) }

struct Result: Encodable {
  /// Of the similarities of pairs with the teacher's.
  var pearson, spearman: Double
  /// The mean cosine of a text's two embeddings.
  var cosine: Double
  var parameters: Int
}

@MainActor func result(_ model: any Layer) throws -> Result {
  let own = try rows(model)
  let ownSimilarities = pairs.map { cosine(own[$0.0], own[$0.1]) }
  return Result(
    pearson: try Correlation.pearson(ownSimilarities, similarities),
    spearman: try Correlation.spearman(ownSimilarities, similarities),
    cosine: zip(own, wanted).reduce(0) { $0 + cosine($1.0, $1.1) } / Double(own.count),
    parameters: model.parameterCount)
}

let frozen = FrozenTeacher(teacher)
let place = LayerPair("last_features")
let ways: [(String, [Objective.Entry])] = [
  ("cosine", [.init(try CosineHiddenStates(layers: [place]))]),
  ("relations", [.init(try RelationalKnowledge(layers: [place], distance: 25, angle: 0))]),
  (
    "both",
    [.init(try CosineHiddenStates(layers: [place])), .init(try RelationalKnowledge(layers: [place]), weight: 0.1)]
  ),
]
var results = ["start": try result(student())]
for (name, entries) in ways {
  let student = try student()
  var options = Trainer.Options(steps: 2 * ((training.count + 63) / 64))
  options.keep = .last
  let objective = try Objective(entries)
  let loader = try DataLoader(dataset: training, options: .init(batchSize: 64, shuffle: true, seed: seed))
  try objective.prepare(student: student, teacher: frozen, batch: loader.batch(ids: Array(0..<64)), seed: seed)
  let trainer = try Trainer(
    student: student, teacher: frozen, objective: objective,
    optimizer: AdamW(student.namedParameters, learningRate: 2e-4, weightDecay: 0.01), schedule: .cosine(),
    loader: loader, options: options)
  _ = try trainer.run()
  results[name] = try result(student)
  FileHandle.standardError.write(Data("\(name): \(results[name].map { "\($0)" } ?? "")\n".utf8))
}
let encoder = JSONEncoder()
encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
print(String(decoding: try encoder.encode(results), as: UTF8.self))
