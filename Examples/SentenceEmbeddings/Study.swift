import DistillModels
import Distillation

/// Texts, a teacher that embeds sentences, and where it puts the texts for testing.
struct Study {
  struct Result: Encodable {
    /// Of the similarities of pairs with the teacher's.
    var pearson, spearman: Double
    /// The mean cosine of a text's two embeddings.
    var cosine: Double
    var parameters: Int
  }

  private let training: ClassifiedTexts
  private let test: ClassifiedTexts
  private let teacher: any FeatureClassifier
  /// What the student is.
  private let specification: ModelSpecification
  /// Texts that nobody was trained on; the same for all seeds.
  private let pairs: [(Int, Int)]
  private let wanted: [[Double]]
  private let similarities: [Double]

  init(texts: String, model folder: String) throws {
    (training, test) = try LabelledTexts(tokenizer: folder, length: 16).load(texts)
    // The teacher gives rows of length 1; `last_features` is the row before that.
    var specification = try ForeignModel(folder: folder).specification
    specification.inputShape = training.exampleShape
    teacher = try ModelZoo.make(specification)
    try teacher.loadForeign(Checkpoint.read("\(folder)/model.safetensors"))
    specification.options["depth"] = 2
    self.specification = specification
    var random = RandomSource(seed: 0, "pairs")
    let count = test.count
    pairs = (0..<20_000).map { _ in
      let first = Int.random(in: 0..<count, using: &random)
      let other = Int.random(in: 0..<count - 1, using: &random)
      return (first, other < first ? other : other + 1)
    }
    wanted = try Self.rows(teacher, test)
    let rows = wanted
    similarities = pairs.map { Self.cosine(rows[$0.0], rows[$0.1]) }
  }

  /// A student with the teacher's embeddings of words, and its third and its last layer.
  func student() throws -> any FeatureClassifier {
    let student = try ModelZoo.make(specification)
    let layers = try LayerCopy.layers(
      .every(3), student: "bert.encoder.layer.{}", teacher: "bert.encoder.layer.{}", in: student,
      from: teacher.state)
    try student.copyLayers([LayerCopy("bert.embeddings")] + layers, from: teacher.state)
    return student
  }

  /// The student after an epoch.
  func learned(by entries: [Objective.Entry], seed: UInt64) throws -> any FeatureClassifier {
    let student = try student()
    let frozen = FrozenTeacher(teacher)
    let objective = try Objective(entries)
    let loader = try DataLoader(
      dataset: training, options: .init(batchSize: 64, shuffle: true, seed: seed))
    try objective.prepare(
      student: student, teacher: frozen, batch: loader.batch(ids: Array(0..<64)), seed: seed)
    var options = Trainer.Options(steps: loader.batchCount)
    options.keep = .last
    let optimizer = try AdamW(student.namedParameters, learningRate: 2e-4, weightDecay: 0.01)
    let trainer = try Trainer(
      student: student, teacher: frozen, objective: objective, optimizer: optimizer,
      schedule: .cosine(),
      loader: loader, options: options)
    _ = try trainer.run()
    return student
  }

  func result(of model: any Layer) throws -> Result {
    let own = try Self.rows(model, test)
    let ownSimilarities = pairs.map { Self.cosine(own[$0.0], own[$0.1]) }
    return Result(
      pearson: try Correlation.pearson(ownSimilarities, similarities),
      spearman: try Correlation.spearman(ownSimilarities, similarities),
      cosine: zip(own, wanted).reduce(0) { $0 + Self.cosine($1.0, $1.1) } / Double(own.count),
      parameters: model.parameterCount)
  }

  /// Where a model puts texts: rows of length 1.
  private static func rows(_ model: any Layer, _ texts: ClassifiedTexts) throws -> [[Double]] {
    let rows = try EvaluationSet(texts, normalization: nil).logits(of: model).to(.float64)
    let (flat, width): ([Double], Int) = (try rows.array(), try rows.size(1))
    return stride(from: 0, to: flat.count, by: width).map { Array(flat[$0..<$0 + width]) }
  }

  private static func cosine(_ x: [Double], _ y: [Double]) -> Double {
    zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
  }
}
