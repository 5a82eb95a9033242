/// The recipe as it was resolved.
struct RecipeSection {
  var data: ReportData

  func markup() -> Markup? {
    guard !data.recipe.isEmpty else { return nil }
    return section("recipe", "Recipe", lead: "Fully resolved: with it, the run can be repeated.") {
      element("div", ["class": "recipe"]) {
        element("pre", ["tabindex": "0", "aria-label": "Recipe"]) {
          element("code", ["id": "recipe-text"]) {
            for line in data.recipe.split(separator: "\n", omittingEmptySubsequences: false) {
              coloured(String(line))
              Markup("\n")
            }
          }
        }
      }
    }
  }

  /// Comments are quiet, keys stand out; nothing else is interpreted.
  private func coloured(_ line: String) -> Markup {
    if line.drop(while: { $0 == " " }).hasPrefix("#") { return element("i") { line } }
    guard let colon = line.firstIndex(of: ":") else { return Markup(line) }
    let key = line[..<colon]
    let plain = key.allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" || $0 == " " || $0 == "." }
    guard plain else { return Markup(line) }
    var result = element("b") { String(key) }
    result.append(Markup(String(line[colon...])))
    return result
  }
}

/// What the run was made of.
struct ManifestSection {
  var data: ReportData

  func markup() -> Markup? {
    guard !data.manifest.isEmpty else { return nil }
    return section("manifest", "Manifest", lead: "What the run was made of, and where.") {
      namedValues(data.manifest.map { ($0.name, $0.value) })
    }
  }
}

/// The words of the report, explained.
struct WordsSection {
  func markup() -> Markup { wordsSection(Self.words) }

  private static let words: [(word: String, meaning: String)] = [
    ("Alone", "The student trained on the labels only, with the same budget and the same seeds."),
    ("Distilled", "The same student, taught by the teacher's soft targets as well."),
    (
      "Gain",
      "Accuracy of one minus accuracy of the other with the same seed, averaged; the interval is that of a paired t-test."
    ),
    ("±", "The standard deviation over the seeds."),
    ("Agreement", "The share of test images on which the student predicts what the teacher predicts."),
    ("ECE", "Expected calibration error: the mean distance between how sure a model is and how often it is right."),
    ("NLL", "Negative log-likelihood of the labels, in nats; lower is better."),
    ("KL to teacher", "How far the student's probabilities are from the teacher's at T = 1, in nats."),
    ("Temperature", "T divides the logits before the softmax: the higher, the softer the targets."),
    ("Mult-adds", "Multiplications, each with its addition, to classify one image."),
  ]
}
