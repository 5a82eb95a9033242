import Foundation

/// What a teacher says of the examples of one class, and what its student learned of that.
///
/// The soft target of an example at temperature T is softmax(logits / T). Its mean over the examples of a class says what
/// the teacher takes the class to be like; the student is held against it by the divergence
///
///     KL(teacher ‖ student) = mean over examples of Σ pₜ · (log pₜ − log pₛ)
///
/// with both at the same temperature, in nats.
public struct ClassLesson: Encodable, Sendable {
  /// The mean of what a model says at a temperature.
  public struct SoftTarget: Encodable, Sendable {
    /// `teacher`, `student` or `alone`.
    public var model: String
    public var temperature: Double
    /// The likeliest classes, likeliest first.
    public var shares: [Explanation.Share]
    /// What all others have together.
    public var rest: Double
  }

  public struct Divergence: Encodable, Sendable, Equatable {
    public var temperature: Double
    /// On the examples of the class.
    public var ofClass: Double
    /// On all examples that were looked at.
    public var ofAll: Double
  }

  /// What one model does with the class.
  public struct Model: Encodable, Sendable {
    public var name: String
    /// The share of the class's examples that it knows.
    public var recall: Double
    /// What it calls the others, with their share in all examples of the class; most frequent first.
    public var mistakes: [Explanation.Share]
    /// The share of the class's examples that it calls what the teacher calls them; nil for the teacher itself.
    public var agreement: Double?
    public var agreementOfAll: Double?
    /// By temperature; empty for the teacher itself.
    public var divergences: [Divergence]
  }

  /// A class that the teacher finds like this one.
  public struct Neighbour: Encodable, Sendable {
    public var name: String
    /// The mean probability that each model gives it for examples of this class.
    public var probabilities: [Explanation.Share]
  }

  /// What a model said of examples: a row of logits for each.
  struct Answers {
    var model: String
    var rows: [[Double]]
  }

  public var name: String
  /// The test examples of the class that were looked at.
  public var count: Int
  public var temperatures: [Double]
  /// By temperature, and for each the teacher first.
  public var softTargets: [SoftTarget]
  /// The teacher first.
  public var models: [Model]
  /// The temperature at which the neighbours were looked for, and by which examples are typical or odd.
  public var middleTemperature: Double
  /// The classes that the teacher finds most like it.
  public var neighbours: [Neighbour]

  /// The distance of each example from the class: KL(its soft target ‖ the mean one) of the teacher at the middle
  /// temperature. Those with a small one are typical, those with a large one odd.
  let distances: [Double]

  /// So many classes are listed of each soft target, and so many neighbours.
  private static let (mostShares, mostNeighbours) = (8, 5)

  /// - Parameters:
  ///   - places: the rows of the class's examples; at least one
  ///   - answers: the teacher's first, all of the same examples
  ///   - temperatures: at least one
  init(_ name: String, at places: [Int], answers: [Answers], classNames: [String], temperatures: [Double]) {
    let middle = temperatures.sorted()[temperatures.count / 2]
    let teacher = answers[0]
    let label = classNames.firstIndex(of: name)
    var softTargets: [SoftTarget] = []
    for temperature in temperatures {
      for model in answers {
        let mean = Self.mean(places.map { Self.softTarget(model.rows[$0], temperature) })
        softTargets.append(SoftTarget(model.model, temperature, mean, classNames))
      }
    }
    let means = answers.map { model in Self.mean(places.map { Self.softTarget(model.rows[$0], middle) }) }
    let nearest = classNames.indices.filter { $0 != label && means[0][$0] > 0 }
      .sorted { means[0][$0] > means[0][$1] }.prefix(Self.mostNeighbours)
    neighbours = nearest.map { index in
      Neighbour(
        name: classNames[index],
        probabilities: zip(answers, means).map { Explanation.Share(name: $0.model, probability: $1[index]) })
    }
    let logMean = means[0].map { Foundation.log(max($0, .leastNormalMagnitude)) }
    distances = places.map { Self.divergence(Self.logSoftTarget(teacher.rows[$0], middle), logMean) }
    models = answers.enumerated().map { order, model in
      Model(
        model, at: places, label: label, teacher: order > 0 ? teacher : nil, classNames: classNames,
        temperatures: temperatures)
    }
    self.name = name
    self.count = places.count
    self.temperatures = temperatures
    self.softTargets = softTargets
    middleTemperature = middle
  }

  private enum CodingKeys: CodingKey {
    case name, count, temperatures, softTargets, models, middleTemperature, neighbours
  }

  /// The most typical examples and the oddest, by their places among the class's examples.
  ///
  /// - Parameter count: of both together; of an odd number there is one more that is typical
  func examples(_ count: Int) -> (typical: [Int], odd: [Int]) {
    let ordered = distances.indices.sorted { (distances[$0], $0) < (distances[$1], $1) }
    let half = min((count + 1) / 2, ordered.count)
    let typical = Array(ordered.prefix(half))
    return (typical, Array(ordered.dropFirst(half).suffix(count - half).reversed()))
  }

  func model(_ name: String) -> Model? { models.first { $0.name == name } }

  public func softTarget(of model: String, at temperature: Double) -> SoftTarget? {
    softTargets.first { $0.model == model && $0.temperature == temperature }
  }

  // MARK: Arithmetic

  /// log softmax(logits / T)
  static func logSoftTarget(_ logits: [Double], _ temperature: Double) -> [Double] {
    let scaled = logits.map { $0 / temperature }
    let largest = scaled.max() ?? 0
    let sum = scaled.reduce(0) { $0 + Foundation.exp($1 - largest) }
    return scaled.map { $0 - largest - Foundation.log(sum) }
  }

  static func softTarget(_ logits: [Double], _ temperature: Double) -> [Double] {
    logSoftTarget(logits, temperature).map { Foundation.exp($0) }
  }

  /// Σ p · (log p − log q); a class of which p is nothing adds nothing.
  static func divergence(_ logP: [Double], _ logQ: [Double]) -> Double {
    zip(logP, logQ).reduce(0) { sum, pair in
      let p = Foundation.exp(pair.0)
      return p > 0 ? sum + p * (pair.0 - pair.1) : sum
    }
  }

  fileprivate static func mean(_ rows: [[Double]]) -> [Double] {
    guard var sums = rows.first else { return [] }
    for row in rows.dropFirst() {
      for index in sums.indices { sums[index] += row[index] }
    }
    return sums.map { $0 / Double(rows.count) }
  }

  fileprivate static func likeliest(_ logits: [Double]) -> Int {
    logits.indices.max { logits[$0] < logits[$1] } ?? 0
  }

  fileprivate static func shares(_ values: [Double], _ names: [String], most: Int = mostShares) -> [Explanation.Share] {
    values.indices.sorted { (values[$1], $0) < (values[$0], $1) }.prefix(most).map {
      Explanation.Share(name: names[$0], probability: values[$0])
    }
  }
}

extension ClassLesson.SoftTarget {
  fileprivate init(_ model: String, _ temperature: Double, _ mean: [Double], _ names: [String]) {
    self.model = model
    self.temperature = temperature
    shares = ClassLesson.shares(mean, names)
    rest = max(0, 1 - shares.reduce(0) { $0 + $1.probability })
  }
}

extension ClassLesson.Model {
  /// - Parameters:
  ///   - label: of the class
  ///   - teacher: whom it is held against; nil where it is the teacher itself
  fileprivate init(
    _ answers: ClassLesson.Answers, at places: [Int], label: Int?, teacher: ClassLesson.Answers?, classNames: [String],
    temperatures: [Double]
  ) {
    name = answers.model
    let count = Double(max(1, places.count))
    let said = answers.rows.map(ClassLesson.likeliest)
    var calls = [Double](repeating: 0, count: classNames.count)
    for place in places { calls[said[place]] += 1 / count }
    recall = label.map { calls[$0] } ?? 0
    if let label { calls[label] = 0 }
    mistakes = ClassLesson.shares(calls, classNames).filter { $0.probability > 0 }
    divergences = []
    guard let teacher else { return }
    let agreeing = zip(said, teacher.rows).map { $0 == ClassLesson.likeliest($1) }
    agreement = Double(places.count { agreeing[$0] }) / count
    agreementOfAll = Double(agreeing.count { $0 }) / Double(max(1, agreeing.count))
    divergences = temperatures.map { temperature in
      let each = zip(teacher.rows, answers.rows).map {
        ClassLesson.divergence(
          ClassLesson.logSoftTarget($0, temperature), ClassLesson.logSoftTarget($1, temperature))
      }
      return ClassLesson.Divergence(
        temperature: temperature, ofClass: places.reduce(0) { $0 + each[$1] } / count,
        ofAll: each.reduce(0, +) / Double(max(1, each.count)))
    }
  }
}
