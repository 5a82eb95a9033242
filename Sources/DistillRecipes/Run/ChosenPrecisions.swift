import DistillData
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// The file `precision.json`: in what precision a run computes, and with images in which order, where its recipe leaves
/// that open. All trainings of a model share the choice, alone and distilled, of every seed and stage; a run that is gone
/// on with makes it no second time.
struct ChosenPrecisions: Codable, Sendable, Equatable {
  var choices: [Choice] = []
  /// In what models compute that teach, whose weights are there.
  var teachers: [TeacherChoice] = []

  init(choices: [Choice] = [], teachers: [TeacherChoice] = []) {
    self.choices = choices
    self.teachers = teachers
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    choices = try container.decodeIfPresent([Choice].self, forKey: .choices) ?? []
    // Runs that never asked for a teacher's precision say nothing of it.
    teachers = try container.decodeIfPresent([TeacherChoice].self, forKey: .teachers) ?? []
  }

  /// A choice by what a model says and how fast.
  struct TeacherChoice: Codable, Sendable, Equatable {
    /// Of an ensemble's member, for people; empty where there is one teacher.
    var name: String
    /// A hash of its weights.
    var weights: String
    /// A hash of the device, the data and the size of the batches.
    var key: String
    var multiplyAdds: Int
    var reason: Reason
    var choice: TeacherPrecisionChoice
  }

  struct Choice: Codable, Sendable, Equatable {
    /// `student` or `teacher`, for people.
    var role: String
    /// A hash of the model, the device and the ways that there were to choose from.
    var key: String
    /// Of one batch, forward.
    var multiplyAdds: Int
    var reason: Reason
    var choice: PrecisionChoice
  }

  enum Reason: String, Codable, Sendable {
    case measured
    /// The batches are too small for the choice to matter.
    case small
    /// There is but one way.
    case only
  }

  /// What was chosen before; nothing where there is no such file.
  ///
  /// - Throws: `RunError` when there is one that cannot be read: chosen anew, the run might not be the same.
  static func read(_ folder: RunFolder) throws -> Self { try read(folder.precision) ?? Self() }

  /// nil where there is no file.
  static func read(_ path: String) throws -> Self? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    do {
      return try ResultJSON.decode(try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw RunError(
        "\(path), in which precisions were chosen before, cannot be read: \(explanation(error)). Without it they are "
          + "chosen anew: remove it if trainings may be done again in another precision")
    }
  }

  func write(to folder: RunFolder) throws {
    try AtomicFile.write(try ResultJSON.pretty(self), to: folder.precision)
  }
}

extension ChosenPrecisions.Choice {
  /// What was chosen, and why: `bfloat16, channels last: 3.3 times as fast as float32 (…)`.
  var words: String {
    let chosen = choice.computation
    switch reason {
    case .small:
      return "\(chosen.words): a batch takes \(Quantity.count(multiplyAdds)) multiply-adds, and below "
        + "\(Quantity.count(PrecisionChooser.Conditions.standard.threshold)) nothing is timed"
    case .only: return "\(chosen.words): this processor has no instructions for bfloat16"
    case .measured:
      guard let first = choice.trials.first, let best = choice.trials.first(where: { $0.computation == chosen }) else {
        return chosen.words
      }
      let times = choice.trials.filter { $0.isSound && $0.seconds > 0 }
        .map { "\($0.computation.words) \(Quantity.seconds($0.seconds))" }.joined(separator: ", ")
      let unsound = choice.trials.filter { !$0.isSound }.map(\.computation.words)
      let refused = unsound.isEmpty ? "" : "; other numbers came out with \(unsound.joined(separator: " and "))"
      guard best != first, best.seconds > 0 else {
        return "\(chosen.words): nothing else is clearly faster (a batch forward and backward: \(times)\(refused))"
      }
      return "\(chosen.words): \(Quantity.ratio(first.seconds / best.seconds)) as fast as \(first.computation.words) "
        + "(a batch forward and backward: \(times)\(refused))"
    }
  }
}

extension ChosenPrecisions.TeacherChoice {
  /// `the teacher`, or `the teacher's member 'large'`.
  var whose: String { name.isEmpty ? "the teacher" : "the teacher's member '\(name)'" }

  /// What was chosen, and why: `int8: 3.1 times as fast as float32; KL 0.00008 nats at temperature 1, …`.
  var words: String {
    switch reason {
    case .small:
      return "as the student: a batch takes \(Quantity.count(multiplyAdds)) multiply-adds, and below "
        + "\(Quantity.count(PrecisionChooser.Conditions.standard.threshold)) nothing is timed"
    case .only: return "as the student: this device has nothing cheaper"
    case .measured: return choice.words
    }
  }
}

extension TeacherPrecisionChoice {
  var words: String {
    let exact = trials.first { $0.precision == .float32 }
    guard precision != .float32, let chosen else {
      let others = trials.filter { $0.precision != .float32 }
        .map { "\($0.precision.rawValue): \($0.words(beside: exact))" }
      return "float32: nothing cheaper is clearly faster and says the same"
        + (others.isEmpty ? "" : " (\(others.joined(separator: "; ")))")
    }
    return "\(precision.rawValue): \(chosen.words(beside: exact))"
  }
}

extension TeacherPrecisionChoice.Trial {
  /// How fast it is, and how near to float32.
  func words(beside exact: Self?) -> String {
    if refusal != nil { return "it cannot be computed so" }
    let ratio = exact.flatMap { $0.seconds > 0 && seconds > 0 ? $0.seconds / seconds : nil }
    return (ratio.map { "\(Quantity.ratio($0)) as fast as float32, " } ?? "") + (fidelity?.words ?? "exact")
  }
}

extension TeacherFidelity {
  /// Such as `KL 0.00008 nats at temperature 1, 0.00002 at 4, the same likeliest class for 99.6 % of 256 examples`.
  var words: String {
    let parts = divergences.enumerated().map { index, divergence in
      "\(Quantity.plain(divergence.mean))\(index == 0 ? " nats at temperature" : " at") "
        + Quantity.plain(divergence.temperature)
    }
    return "KL \(parts.joined(separator: ", ")), the same likeliest class for "
      + "\(Quantity.percent(topOneAgreement)) of \(counted(count, "example"))"
  }
}

extension Computation {
  var words: String { precision.rawValue + (channelsLast ? " with channels last" : "") }
}

extension Configuration {
  /// The recipe with what a run chose.
  func applying(_ chosen: ChosenPrecisions) -> Configuration {
    var result = self
    result.chosen = chosen
    // One that nothing was measured for answers in the student's precision.
    for teacher in chosen.teachers where teacher.reason == .measured {
      result.teacher?.chosenPrecisions[teacher.weights] = teacher.choice.precision
    }
    result.training.settle(student, device, chosen)
    result.alone.settle(student, device, chosen)
    if let teacher {
      result.teacher?.training?.settle(teacher, device, chosen)
      result.teacher?.specialists?.training.settle(teacher, device, chosen)
    }
    for index in stages.indices {
      result.stages[index].configuration = stages[index].configuration.applying(chosen)
    }
    return result
  }
}

extension Configuration {
  /// What is computed in which precision, once that is settled.
  var precisions: [ReportData.ManifestEntry] {
    let choices = chosen?.choices ?? []
    let teaching = teacherPrecisions
    guard !choices.isEmpty else {
      let given = Computation(training.precision, channelsLast: training.channelsLast)
      return [ReportData.ManifestEntry("precision", "\(given.words), as the recipe says")] + teaching
    }
    return choices.map { ReportData.ManifestEntry("precision of the \($0.role)", $0.words) } + teaching
  }

  /// In what the teacher teaches, where that is no matter of the student's precision.
  private var teacherPrecisions: [ReportData.ManifestEntry] {
    if let given = teacher?.precision {
      let words = "\(given.rawValue), as the recipe says"
      return [ReportData.ManifestEntry("precision in which the teacher teaches", words)]
    }
    return (chosen?.teachers ?? []).filter { $0.reason == .measured }
      .map { ReportData.ManifestEntry("precision in which \($0.whose) teaches", $0.words) }
  }
}

/// A model whose precision can be chosen.
protocol ComputedModel {
  /// The same for the same model, wherever its files lie.
  var precisionText: String { get }
}

extension Configuration.Student: ComputedModel {
  var precisionText: String { "student \(node.withFiles { _ in nil }.yaml)" }
}

extension Configuration.Teacher: ComputedModel {
  var precisionText: String { "teacher \(members.first?.model?.node.yaml ?? "")" }
}

extension Configuration.Training {
  /// What is left open, with what is not.
  private var openText: String {
    "\(choosesPrecision ? "auto" : precision.rawValue) \(choosesChannelsLast ? "auto" : "\(channelsLast)")"
  }

  /// The key of the choice for a model; nil where nothing is left open.
  func precisionKey(_ model: some ComputedModel, _ device: String) throws -> String? {
    guard choosesPrecision || choosesChannelsLast else { return nil }
    return try SHA256.hex(of: "\(model.precisionText) \(device) \(openText)")
  }

  fileprivate mutating func settle(_ model: some ComputedModel, _ device: String, _ chosen: ChosenPrecisions) {
    guard let key = try? precisionKey(model, device), let found = chosen.choices.first(where: { $0.key == key })
    else { return }
    precision = found.choice.computation.precision
    channelsLast = found.choice.computation.channelsLast
    (choosesPrecision, choosesChannelsLast) = (false, false)
  }
}
