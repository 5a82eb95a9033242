import DistillData
import Distillation
import Foundation
import Torch
import TorchNN

// What the student is distilled on, and how it differs from what the teacher was trained on.

extension PreflightCheck {
  /// How many examples of what a stage shows.
  ///
  /// - Parameter prefix: the setting and the stage, for messages
  func checkTransferSet(_ materials: Materials, _ prefix: String, _ recipe: Configuration, _ examples: [Int]) {
    let seed = recipe.seeds.first ?? 0
    let parts = (try? materials.shownParts(recipe.data, seed: seed)) ?? []
    let own = examples.count - parts.reduce(0) { $0 + $1.range.count }
    for part in parts where part.range.isEmpty { warn("data", "\(prefix)\(part.name) has no examples") }
    if own < materials.split.train.count || !parts.isEmpty {
      let words = parts.map { part in
        let labelled = part.range.count { materials.joined.label(at: $0) >= 0 }
        let labels = labelled == 0 ? "none" : Quantity.integer(labelled)
        return "\(counted(part.range.count, "example")) of \(part.name), \(labels) labelled"
      }
      good(
        "data",
        "\(prefix)the student is distilled on \(counted(own, "training example"))"
          + words.map { "; \($0)" }.joined())
    }
    if let warning = recipe.plainViewWarning { warn("data", "\(prefix)\(warning)") }
    let unseen = materials.classesWithout(examples).sorted().map { "'\(materials.train.classNames[$0])'" }
    guard !unseen.isEmpty else { return }
    let names = unseen.prefix(5).joined(separator: ", ") + (unseen.count > 5 ? ", …" : "")
    if recipe.training.correctBias == .none {
      warn(
        "data",
        "\(prefix)the student sees no example of \(names), and will hardly ever name \(unseen.count == 1 ? "it" : "them"): "
          + "set training.correct_bias: labels, or prior")
    } else {
      good("data", "\(prefix)the student sees no example of \(names); biases are corrected in the end")
    }
  }
}

extension Configuration {
  /// What to know where the teacher's answer to the plain example stands for all augmented views of it; nil elsewhere.
  var plainViewWarning: String? {
    guard data.teacherView == .plain, !data.augmentation.isEmpty, terms.contains(where: \.needsTeacher),
      teacher.map({ !$0.members.isEmpty }) ?? false
    else { return nil }
    return "data.teacher_view is plain: the teacher labels other pixels than the student sees, and says of an "
      + "augmented view what only the plain example shows; with data.views: 4 it labels the very pixels"
  }
}

extension ModelCheck {
  /// - Parameter teacher: nil where it is still to be trained
  func checkTransferSets(_ teacher: (any Teacher)?, _ settings: [(name: String, configuration: Configuration)]) {
    check.attempt("data") {
      let found = try check.configuration.transferSetDifferences(
        of: settings, teacher: teacher, maker: self.teacher, materials: materials, device: device)
      for (place, difference) in found {
        let findings = difference.findings
        // That nothing is known is no sign of anything.
        for (index, finding) in findings.enumerated() {
          let text = "\(place)\(finding)"
          if difference.training == nil, index == 0 { check.good("data", text) } else { check.warn("data", text) }
        }
        if findings.isEmpty {
          check.good(
            "data",
            "\(place)the transfer set is like what the teacher "
              + (teacher == nil
                ? "will be trained on, as far as inputs go: what it says of both is compared once it is trained"
                : "was trained on"))
        }
      }
    }
  }
}

extension Configuration {
  /// How each transfer set that is another than the training examples differs from what the recipe's teacher was trained
  /// on, with its place for messages.
  ///
  /// - Parameters:
  ///   - teacher: nil where it is still to be trained: then only inputs are compared
  ///   - maker: who knows where its weights are
  func transferSetDifferences(
    of settings: [(name: String, configuration: Configuration)], teacher: (any Distillation.Teacher)?,
    maker: TeacherMaker?, materials: Materials, device: Device
  ) throws -> [(place: String, difference: TransferSetDifference)] {
    let isKnown = try teacher == nil || teacherLearntHere(maker, materials)
    let training = TransferSetDifference.Examples(materials.train, examples: materials.split.train)
    var seen: [[Int]] = []
    var found: [(String, TransferSetDifference)] = []
    for (name, setting) in settings {
      for (index, stage) in setting.sequence.enumerated() {
        let recipe = stage.configuration
        // A teacher of its own was trained on something else, or is the student of an earlier stage.
        guard !stage.hasOwnTeacher, recipe.teacher?.members == self.teacher?.members,
          recipe.terms.contains(where: \.needsTeacher)
        else { continue }
        let examples = try materials.examples(recipe.data, seed: recipe.seeds.first ?? 0).transfer
        guard examples != materials.split.train, !seen.contains(examples) else { continue }
        seen.append(examples)
        var difference = try TransferSetDifference(
          teacher: teacher ?? Silent(classCount: materials.train.classCount), training: isKnown ? training : nil,
          transfer: .init(materials.joined, examples: examples), normalization: materials.normalization,
          device: device)
        difference.transfer.name = "the transfer set"
        difference.training?.name = "what the teacher \(teacher == nil ? "will be" : "was") trained on"
        found.append((setting.place(ofStage: index, setting: name), difference))
      }
    }
    return found
  }

  /// Whether the teacher was trained on this recipe's training data: by the recipe, or as the manifest beside its weights
  /// says.
  private func teacherLearntHere(_ maker: TeacherMaker?, _ materials: Materials) throws -> Bool {
    guard let teacher, let maker, let weights = maker.members.first?.weights, maker.members.count == 1 else {
      return false
    }
    if teacher.isToBeTrained { return true }
    let folder = FilePath.folder(of: weights)
    let hash = try materials.train.contentHash
    return ["\(folder)/manifest.json", "\(FilePath.folder(of: folder))/manifest.json"].contains { path in
      let entries: [ReportData.ManifestEntry]? = FileManager.default.contents(atPath: path)
        .flatMap { try? ResultJSON.decode($0) }
      return entries?.contains { $0.name == "training data hash" && $0.value == hash } ?? false
    }
  }

  /// A teacher that knows nothing: every class is as likely as any other.
  private final class Silent: Distillation.Teacher {
    private let classCount: Int

    init(classCount: Int) { self.classCount = classCount }

    func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
      let outputs = batch.predictsTokens ? Array(batch.inputs.shape.prefix(2)) : [batch.count]
      return TeacherTrace(logits: try Tensor.zeros(outputs + [classCount], device: batch.inputs.device))
    }
  }
}
