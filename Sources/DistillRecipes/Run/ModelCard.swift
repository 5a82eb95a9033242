import Distillation
import Foundation

/// The text that goes with a model: what it is, how it was made, and what it scored.
struct ModelCard {
  let text: String

  /// - Parameter metrics: on the test split; nil for a student that another stage goes on with, or that is one of a search
  init(
    job: TrainingJob, outcome: Outcome, metrics: Metrics?, correctedBias: CorrectedBias? = nil, dataset: String
  ) {
    func percent(_ value: Double) -> String { String(format: "%.2f %%", value * 100) }
    var rows: [(String, String)] = []
    var title =
      "not tested: " + (job.isForChoosing ? "a search chooses among several" : "another stage goes on with it")
    if let metrics {
      title =
        "on the test split of \(dataset), \(metrics.count) \(job.configuration.data.text.map { "\($0.token)s" } ?? "examples")"
      rows = [
        ("accuracy", percent(metrics.accuracy)),
        ("top-\(metrics.topK) accuracy", percent(metrics.topKAccuracy)),
        ("negative log-likelihood", String(format: "%.4f", metrics.negativeLogLikelihood)),
        ("expected calibration error", percent(metrics.expectedCalibrationError)),
      ]
      if let text = job.configuration.data.text {
        rows.insert(("bits for a \(text.token)", String(format: "%.4f", metrics.bits)), at: 0)
        rows.insert(("perplexity", String(format: "%.3f", metrics.perplexity)), at: 1)
      }
      if let agreement = metrics.agreement { rows.append(("agreement with the teacher", percent(agreement))) }
    } else if let validation = outcome.validation {
      rows = [("accuracy on the validation split", percent(validation.accuracy))]
    }
    let how =
      switch job.arm {
      case .teacher: "Trained on labels, to be a teacher."
      case .specialist: "Made of a teacher, on labels, for some classes and 'other'."
      case .alone: "Trained on labels alone, to compare a distilled student with."
      case .distilled:
        "\(job.stage.map { "Stage '\($0.name)'. " } ?? "")"
          + (job.configuration.terms.contains(where: \.needsTeacher) ? "Distilled from a teacher: " : "Trained on: ")
          + "\(job.configuration.terms.map(\.name).joined(separator: ", "))."
      }
    text = """
      ---
      library_name: distill
      tags: [knowledge-distillation]
      ---
      # \(job.configuration.name): \(job.name)

      \(([how] + [correctedBias?.sentence].compactMap(\.self)).joined(separator: " "))

      | \(title) | |
      |---|---|
      \(rows.map { "| \($0.0) | \($0.1) |" }.joined(separator: "\n"))

      `model.safetensors` holds the weights, `config.json` the architecture, the class names in the order of the logits,
      and the normalization of the inputs. The recipe:

      ```yaml
      \(job.configuration.yaml.trimmingCharacters(in: .whitespacesAndNewlines))
      ```

      """
  }
}
