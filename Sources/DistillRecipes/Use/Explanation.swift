import DistillData
import Distillation
import Foundation
import Torch

/// The dark knowledge of a run: what the teacher says of single examples beside the true class, at several temperatures,
/// and which classes it finds alike.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531.
public struct Explanation: Encodable, Sendable {
  public struct Share: Encodable, Sendable, Equatable {
    public var name: String
    public var probability: Double
  }

  /// What a model says of an example at a temperature: the most probable classes first.
  public struct Opinion: Encodable, Sendable {
    /// `teacher` or `student`.
    public var model: String
    public var temperature: Double
    public var shares: [Share]
  }

  public struct Example: Encodable, Sendable {
    /// Its number in the test split.
    public var number: Int
    public var label: String?
    /// Grey, from 0 to 255, in rows; empty where the example is no picture.
    public var picture: [[Int]]
    public var opinions: [Opinion]
  }

  /// A class, and those that the teacher finds most like it.
  public struct Kin: Encodable, Sendable {
    public var name: String
    /// With the mean probability that the teacher gives them for examples of the class.
    public var nearest: [Share]
  }

  public struct Similarity: Encodable, Sendable {
    public var temperature: Double
    public var classes: [Kin]
  }

  /// Which examples are to be shown.
  public struct Choice: Sendable, Equatable {
    /// Numbers in the test split; empty to choose interesting ones.
    public var examples: [Int]
    /// Only of the class of this name.
    public var className: String?
    /// How many are chosen.
    public var count: Int

    public init(examples: [Int] = [], className: String? = nil, count: Int = 4) {
      self.examples = examples
      self.className = className
      self.count = count
    }
  }

  public var dataset: String
  /// Examples of the test split that were looked at.
  public var sampleCount: Int
  public var teacherAccuracy: Double
  public var studentAccuracy: Double?
  public var examples: [Example]
  public var similarities: [Similarity]

  /// - Parameters:
  ///   - path: a run folder, or a recipe whose run is there, or whose teacher is
  ///   - temperatures: at which the teacher is asked
  ///   - device: `cpu`, `cuda`, `cuda:1` or `mps`
  /// - Throws: `RunError` when there is no teacher yet, or no such example or class.
  public init(
    _ path: String, choice: Choice = Choice(), temperatures: [Double] = [1, 2, 4, 8],
    device deviceName: String? = nil
  ) throws {
    let device = try Device(available: deviceName)
    guard !temperatures.isEmpty, temperatures.allSatisfy({ (0.01...1000).contains($0) }) else {
      throw RunError("temperatures are numbers from 0.01 to 1000, such as --temperatures 1,2,4,8")
    }
    guard choice.count >= 1 else { throw RunError("--count is a number from 1 on, not \(choice.count)") }
    let (configuration, folder) = try Self.find(path)
    let materials = try Materials(configuration)
    guard !materials.train.predictsTokens else {
      throw RunError(
        "explain shows what a teacher says of classes, and \(materials.train.name) is a text. 'distill predict' lets its "
          + "student, or the teacher in \(folder.teacher), go on with a text; 'distill evaluate' compares the two")
    }
    let names = materials.train.classNames
    let wanted = try Self.numbers(choice, materials)
    let maker = try Self.teacher(of: configuration, folder: folder, materials: materials, device: device)
    let student = ModelFolder(folder.student).exists ? try NamedModel(folder.student) : nil

    // A sample says which classes are alike; the examples asked for are beside it.
    let sample = spread(Array(0..<materials.test.count), count: 2_000)
    let extra = wanted.filter { !sample.contains($0) }
    let set = try EvaluationSet(
      materials.test, examples: sample + extra, normalization: materials.normalization, device: device)
    let teacherLogits = try set.logits(of: try maker.makeTeacher()).finiteOutputs(of: maker.name)
    let studentLogits = try student.map {
      try $0.logits(materials.test, sample + extra, on: device)
    }
    let says = try Predictions(teacherLogits)
    let answers = try studentLogits.map { try Predictions($0) }
    let places = sample.indices.filter { set.labels[$0] >= 0 }
    func accuracy(_ predictions: Predictions) -> Double {
      Double(places.count { predictions.classes[$0] == set.labels[$0] }) / Double(max(1, places.count))
    }
    dataset = materials.test.name
    sampleCount = sample.count
    teacherAccuracy = accuracy(says)
    studentAccuracy = answers.map(accuracy)
    let shown =
      wanted.isEmpty || choice.examples.isEmpty
      ? Self.interesting(
        wanted.isEmpty ? Array(sample.indices) : Self.places(of: wanted, in: sample + extra), set.labels, says, answers,
        count: choice.count)
      : Self.places(of: wanted, in: sample + extra)
    examples = try shown.map { place in
      var opinions = try temperatures.map { try Self.opinion("teacher", teacherLogits, place, $0, names) }
      if let studentLogits { opinions.append(try Self.opinion("student", studentLogits, place, 1, names)) }
      let label = set.labels[place]
      let number = (sample + extra)[place]
      return Example(
        number: number, label: names.indices.contains(label) ? names[label] : nil,
        picture: try Self.picture(materials.test, number), opinions: opinions)
    }
    let rows = try teacherLogits.sliced(0, from: 0, to: sample.count)
    similarities = try temperatures.map { temperature in
      let matrix = try ClassSimilarity.matrix(
        logits: rows, labels: Array(set.labels.prefix(sample.count)), temperature: temperature)
      return Similarity(temperature: temperature, classes: Self.kin(matrix, names))
    }
  }

  /// The recipe's teacher; where it has none, that of the last stage that has one.
  private static func teacher(
    of configuration: Configuration, folder: RunFolder, materials: Materials, device: Device
  ) throws -> TeacherMaker {
    if let teacher = configuration.teacher {
      guard !teacher.members.isEmpty else {
        let whose = teacher.cache == nil ? "made of students" : "a cache, of the training examples only"
        throw RunError(
          "the teacher of the recipe \(configuration.name) is \(whose): there is none to ask after the run")
      }
      let isTrained =
        ModelFolder(folder.teacher).exists
        || teacher.members.allSatisfy { $0.weights.map { FileManager.default.fileExists(atPath: $0) } ?? false }
      guard isTrained else {
        throw RunError("the teacher has no weights yet: train it with 'distill run' or 'distill train' first")
      }
      return try TeacherMaker(teacher, folder: folder, materials: materials, device: device)
    }
    let setting = try configuration.resolvedSettings().first?.configuration ?? configuration
    guard let number = setting.stages.lastIndex(where: { $0.configuration.teacher?.members.isEmpty == false }),
      let teacher = setting.stages[number].configuration.teacher
    else { throw RunError("the recipe \(configuration.name) has no teacher, and so no dark knowledge") }
    let plan = try RunPlan(
      configuration.applying(try ChosenPrecisions.read(folder)), materials: materials, teacherHashes: [])
    let seed = configuration.seeds.first ?? 0
    let job = plan.settings.first?.jobs.first { $0.seed == seed && $0.stage?.number == number }
    let stages = (job?.stage?.teachers ?? [:]).mapValues { ModelFolder(folder.job($0.folderName).model) }
    if let missing = stages.filter({ !$0.value.exists }).keys.min() {
      throw RunError("the student of the stage '\(missing)', which teaches, is not there yet: 'distill run' trains it")
    }
    return try located(setting.place(ofStage: number)) {
      try TeacherMaker(teacher, folder: folder, materials: materials, device: device, stages: stages)
    }
  }

  private static func find(_ path: String) throws -> (Configuration, RunFolder) {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw RunError("\(path) does not exist: name a run folder or a recipe")
    }
    if isFolder.boolValue {
      let folder = RunFolder(path)
      guard folder.exists else { throw RunError("there is no run in \(path): \(folder.marker) is missing") }
      return (try Configuration.load(path: folder.recipe), folder)
    }
    let configuration = try Configuration.load(path: path)
    return (configuration, RunFolder(configuration.outputFolder))
  }

  /// The examples that were asked for by number or class; empty for no wish.
  private static func numbers(_ choice: Choice, _ materials: Materials) throws -> [Int] {
    for number in choice.examples where !(0..<materials.test.count).contains(number) {
      throw RunError(
        "the test split of \(materials.test.name) has the examples 0 to \(materials.test.count - 1), and so no number "
          + "\(number)")
    }
    guard choice.examples.isEmpty, let name = choice.className else { return choice.examples }
    let names = materials.train.classNames
    guard let label = names.firstIndex(of: name) ?? names.firstIndex(where: { $0.lowercased() == name.lowercased() })
    else {
      throw RunError("\(materials.test.name) has no class '\(name)'. It has \(names.joined(separator: ", "))")
    }
    let found = (0..<materials.test.count).filter { materials.test.label(at: $0) == label }
    guard !found.isEmpty else { throw RunError("no test example belongs to the class '\(name)'") }
    return spread(found, count: 500)
  }

  private static func places(of numbers: [Int], in all: [Int]) -> [Int] {
    let places = Dictionary(zip(all, all.indices)) { first, _ in first }
    return numbers.compactMap { places[$0] }
  }

  /// Examples that the teacher knows but hesitates about, and those on which the student says something else: what it
  /// hesitates between is what it knows beyond the labels.
  private static func interesting(
    _ places: [Int], _ labels: [Int], _ teacher: Predictions, _ student: Predictions?, count: Int
  ) -> [Int] {
    let ordered = places.sorted { teacher.confidences[$0] < teacher.confidences[$1] }
    let known = ordered.filter { labels[$0] >= 0 && teacher.classes[$0] == labels[$0] }
    let differing = student.map { student in known.filter { student.classes[$0] != teacher.classes[$0] } } ?? []
    var chosen: [Int] = []
    // Half of them where the two differ, and not all of one class.
    for (candidates, limit) in [(differing, count / 2), (known, count), (ordered, count)] {
      for place in candidates where chosen.count < limit && !chosen.contains(place) {
        let same = chosen.count { labels[$0] == labels[place] }
        if same < max(1, count / 3) || Set(places.map { labels[$0] }).count == 1 { chosen.append(place) }
      }
    }
    for place in ordered where chosen.count < count && !chosen.contains(place) { chosen.append(place) }
    return chosen
  }

  private static func opinion(
    _ model: String, _ logits: Tensor, _ place: Int, _ temperature: Double, _ names: [String]
  ) throws -> Opinion {
    let row = try logits.sliced(0, from: place, to: place + 1)
    let top = try topClasses(row, count: 4, temperature: temperature).first ?? []
    return Opinion(
      model: model, temperature: temperature,
      shares: top.map { Share(name: names[$0.index], probability: $0.probability) })
  }

  private static func kin(_ matrix: [[Double]], _ names: [String]) -> [Kin] {
    names.indices.map { label in
      let others = names.indices.filter { $0 != label && matrix[label][$0] > 0 }
        .sorted { matrix[label][$0] > matrix[label][$1] }
      return Kin(
        name: names[label],
        nearest: others.prefix(3).map { Share(name: names[$0], probability: matrix[label][$0]) })
    }
  }

  private static func picture(_ dataset: any Dataset, _ number: Int) throws -> [[Int]] {
    guard dataset.isImage, let picture = try Picture.of(dataset, number) else { return [] }
    return (0..<picture.height).map { row in
      (0..<picture.width).map { column in
        let start = (row * picture.width + column) * picture.channels
        let values = (0..<picture.channels).map { Int(picture.pixels[start + $0]) }
        return values.reduce(0, +) / values.count
      }
    }
  }
}
