import DistillData
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// The dark knowledge of a run: what the teacher says of single examples beside the true class, at several temperatures,
/// which classes it finds alike, and what the student learned of it, about one class in particular where that is asked.
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
    /// `teacher`, `student`, or `alone` for the student that had no teacher.
    public var model: String
    public var temperature: Double
    public var shares: [Share]
  }

  public struct Example: Encodable, Sendable {
    /// Why it is shown.
    public enum Kind: String, Encodable, Sendable {
      /// The teacher says of it what it says of its class as a whole.
      case typical
      /// The teacher says of it what it says of no other of its class.
      case odd
    }

    /// Its number in the test split.
    public var number: Int
    public var label: String?
    /// Nil where it was asked for by number, or chosen because the models differ about it.
    public var kind: Kind?
    /// How far it is from its class; see `ClassLesson`. Nil where no class was asked for.
    public var distance: Double?
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
    /// The class that it is about, with typical and odd examples of it.
    public var className: String?
    /// How many are chosen.
    public var count: Int

    public init(examples: [Int] = [], className: String? = nil, count: Int = 4) {
      self.examples = examples
      self.className = className
      self.count = count
    }
  }

  /// The name of the recipe.
  public var recipe: String
  public var dataset: String
  /// Examples of the test split that were looked at.
  public var sampleCount: Int
  public var teacherAccuracy: Double
  public var studentAccuracy: Double?
  /// Of the student that had no teacher, where a class was asked for.
  public var aloneAccuracy: Double?
  /// What is taught of the class that was asked for.
  public var lesson: ClassLesson?
  public var examples: [Example]
  public var similarities: [Similarity]
  /// The examples as pictures in their colours, by number.
  var pictures: [Int: ReportData.Picture]

  private enum CodingKeys: CodingKey {
    case recipe, dataset, sampleCount, teacherAccuracy, studentAccuracy, aloneAccuracy, lesson, examples, similarities
  }

  /// The temperatures at which the teacher is asked where nobody says which: of a class at fewer, and a higher one.
  public static func usualTemperatures(ofClass: Bool) -> [Double] { ofClass ? [1, 4, 20] : [1, 2, 4, 8] }

  /// - Parameters:
  ///   - path: a run folder, or a recipe whose run is there, or whose teacher is
  ///   - temperatures: at which the teacher is asked; nil: the usual ones
  ///   - device: `cpu`, `cuda`, `cuda:1` or `mps`
  /// - Throws: `RunError` when there is no teacher yet, or no such example or class.
  public init(
    _ path: String, choice: Choice = Choice(), temperatures given: [Double]? = nil,
    device deviceName: String? = nil
  ) throws {
    let device = try Device(available: deviceName)
    let temperatures = given ?? Self.usualTemperatures(ofClass: choice.className != nil)
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
    let ofClass = try Self.members(of: choice.className, materials)
    let wanted = try Self.numbers(choice, materials)
    let maker = try Self.teacher(of: configuration, folder: folder, materials: materials, device: device)
    let student = ModelFolder(folder.student).exists ? try NamedModel(folder.student) : nil
    let alone = try ofClass == nil ? nil : Self.alone(configuration, folder, materials)

    // A sample says which classes are alike; the examples asked for are beside it.
    let sample = spread(Array(0..<materials.test.count), count: 2_000)
    let inSample = Set(sample)
    let all = sample + Set(wanted + (ofClass?.numbers ?? [])).subtracting(inSample).sorted()
    let set = try EvaluationSet(
      materials.test, examples: all, normalization: materials.normalization, device: device)
    let teacherLogits = try set.logits(of: try maker.makeTeacher()).finiteOutputs(of: maker.name)
    let studentLogits = try student.map { try $0.logits(materials.test, all, on: device) }
    let aloneLogits = try alone.map { try $0.logits(materials.test, all, on: device) }
    let says = try Predictions(teacherLogits)
    let answers = try studentLogits.map { try Predictions($0) }
    let places = sample.indices.filter { set.labels[$0] >= 0 }
    func accuracy(_ predictions: Predictions) -> Double {
      Double(places.count { predictions.classes[$0] == set.labels[$0] }) / Double(max(1, places.count))
    }
    recipe = configuration.name
    dataset = materials.test.name
    sampleCount = sample.count
    teacherAccuracy = accuracy(says)
    studentAccuracy = answers.map(accuracy)
    aloneAccuracy = try aloneLogits.map { try accuracy(Predictions($0)) }
    var models: [(name: String, logits: Tensor)] = [("teacher", teacherLogits)]
    if let studentLogits { models.append(("student", studentLogits)) }
    if let aloneLogits { models.append(("alone", aloneLogits)) }
    var shown: [Shown] = []
    if let ofClass {
      let own = Self.places(of: ofClass.numbers, in: all)
      let answers = try models.map { ClassLesson.Answers(model: $0.name, rows: try Self.rows($0.logits)) }
      let taught = ClassLesson(
        ofClass.name, at: own, answers: answers, classNames: names, temperatures: temperatures)
      let (typical, odd) = taught.examples(choice.count)
      shown += typical.map { Shown(place: own[$0], kind: .typical, distance: taught.distances[$0]) }
      shown += odd.map { Shown(place: own[$0], kind: .odd, distance: taught.distances[$0]) }
      lesson = taught
    } else {
      shown = Self.interesting(Array(sample.indices), set.labels, says, answers, count: choice.count)
        .map { Shown(place: $0) }
      lesson = nil
    }
    if !choice.examples.isEmpty { shown = Self.places(of: wanted, in: all).map { Shown(place: $0) } }
    // Of a class it is shown what each model says at each temperature, otherwise what the student says as it is used.
    var views: [(model: String, logits: Tensor, temperature: Double)] = []
    for model in models {
      let own = model.name == "teacher" || ofClass != nil ? temperatures : [1]
      views += own.map { (model: model.name, logits: model.logits, temperature: $0) }
    }
    var pictures: [Int: ReportData.Picture] = [:]
    var examples: [Example] = []
    for item in shown {
      let label = set.labels[item.place]
      let number = all[item.place]
      pictures[number] = materials.test.isImage ? try Picture.of(materials.test, number) : nil
      examples.append(
        Example(
          number: number, label: names.indices.contains(label) ? names[label] : nil, kind: item.kind,
          distance: item.distance, picture: pictures[number].map(Self.grey) ?? [],
          opinions: try views.map { try Self.opinion($0.model, $0.logits, item.place, $0.temperature, names) }))
    }
    self.examples = examples
    self.pictures = pictures
    let rows = try teacherLogits.sliced(0, from: 0, to: sample.count)
    similarities = try temperatures.map { temperature in
      let matrix = try ClassSimilarity.matrix(
        logits: rows, labels: Array(set.labels.prefix(sample.count)), temperature: temperature)
      return Similarity(temperature: temperature, classes: Self.kin(matrix, names))
    }
  }

  /// An example that is to be shown, by its place among those that were looked at.
  private struct Shown {
    var place: Int
    var kind: Example.Kind?
    var distance: Double?
  }

  /// For pages that are made of numbers from elsewhere.
  init(
    recipe: String, dataset: String, sampleCount: Int, teacherAccuracy: Double, studentAccuracy: Double? = nil,
    aloneAccuracy: Double? = nil, lesson: ClassLesson? = nil, examples: [Example], similarities: [Similarity],
    pictures: [Int: ReportData.Picture] = [:]
  ) {
    self.recipe = recipe
    self.dataset = dataset
    self.sampleCount = sampleCount
    self.teacherAccuracy = teacherAccuracy
    self.studentAccuracy = studentAccuracy
    self.aloneAccuracy = aloneAccuracy
    self.lesson = lesson
    self.examples = examples
    self.similarities = similarities
    self.pictures = pictures
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

  /// The examples that were asked for by number; none where no wish was said. Of a class those that are shown are chosen
  /// later.
  private static func numbers(_ choice: Choice, _ materials: Materials) throws -> [Int] {
    for number in choice.examples where !(0..<materials.test.count).contains(number) {
      throw RunError(
        "the test split of \(materials.test.name) has the examples 0 to \(materials.test.count - 1), and so no number "
          + "\(number)")
    }
    return choice.examples
  }

  /// The test examples of a class, by its name; nil where none was asked for.
  private static func members(
    of className: String?, _ materials: Materials
  ) throws -> (name: String, numbers: [Int])? {
    guard let className else { return nil }
    let names = materials.train.classNames
    guard
      let label = names.firstIndex(of: className)
        ?? names.firstIndex(where: { $0.lowercased() == className.lowercased() })
    else {
      let near = closest(to: className, in: names, limit: 1).first.map { "; did you mean '\($0)'?" } ?? "."
      let all = names.prefix(20).joined(separator: ", ") + (names.count > 20 ? ", …" : "")
      throw RunError("\(materials.test.name) has no class '\(className)'\(near) Its classes are \(all)")
    }
    let found = (0..<materials.test.count).filter { materials.test.label(at: $0) == label }
    guard !found.isEmpty else { throw RunError("no test example belongs to the class '\(names[label])'") }
    return (names[label], spread(found, count: 500))
  }

  /// The student that had no teacher, of the first setting and seed; nil where there is none.
  private static func alone(
    _ configuration: Configuration, _ folder: RunFolder, _ materials: Materials
  ) throws -> NamedModel? {
    // What else the recipe names may be gone by now, which does not matter here.
    let plan = try? RunPlan(
      configuration.applying(ChosenPrecisions.read(folder)), materials: materials, teacherHashes: [])
    guard let job = plan?.settings.first?.job(.alone, seed: configuration.seeds.first ?? 0) else { return nil }
    let model = ModelFolder(folder.job(job.folderName).model)
    return model.exists ? try NamedModel(model.path) : nil
  }

  /// Logits `[N, C]` as rows.
  private static func rows(_ logits: Tensor) throws -> [[Double]] {
    let count = try logits.size(1)
    let values = try logits.doubles()
    return stride(from: 0, to: values.count, by: max(1, count)).map { Array(values[$0..<$0 + count]) }
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

  private static func grey(_ picture: ReportData.Picture) -> [[Int]] {
    (0..<picture.height).map { row in
      (0..<picture.width).map { column in
        let start = (row * picture.width + column) * picture.channels
        let values = (0..<picture.channels).map { Int(picture.pixels[start + $0]) }
        return values.reduce(0, +) / values.count
      }
    }
  }
}
