import DistillData
import DistillModels
import Distillation

// What recipes say of texts: how they are read, and who else writes some.

extension Configuration {
  /// How a text becomes examples.
  public struct TextForm: Sendable, Equatable {
    /// What a token is.
    public var unit: TextUnit
    /// How many tokens an example shows.
    public var length: Int
  }

  /// Text that the teacher writes, and the student is distilled on in place of the data's own.
  public struct WrittenText: Sendable, Equatable {
    /// How many tokens of each example are kept, after which the teacher goes on.
    public var prompt: Int
    public var decoding: Decoding
  }

  /// The student's own text, on which it learns in a part of the steps.
  public struct OwnText: Sendable, Equatable {
    /// λ: the part of the steps.
    public var rate: Double
    /// How many tokens of each example are kept, after which the student goes on.
    public var prompt: Int
    /// When the student begins to write.
    public var start: Moment
    /// At which it draws its tokens.
    public var temperature: Double
  }
}

// MARK: - Reading

extension Configuration.TextForm {
  static let lengths = NumberRange.from(1, to: 65_536)

  /// - Parameter dataset: whose text it is; of others than `text` there is none, and keys for texts are problems
  init?(_ map: RecipeMap, dataset: String) {
    guard dataset == "text" else {
      let strange = ["unit"] + (dataset == "labelled-text" ? [] : ["length"])
      for key in strange where map.contains(key) {
        map.report(
          key, "\(map.path(to: key)) is for the dataset 'text', not '\(dataset)'", hint: "leave it out")
        _ = map.value(key)
      }
      return nil
    }
    unit = map.choice("unit") ?? .bytes
    length = map.int("length", Self.lengths) ?? 128
  }

  /// What a token is called: `byte` or `character`.
  var token: String { unit == .bytes ? "byte" : "character" }
}

extension Configuration.WrittenText {
  static func read(_ reader: RecipeReader) -> Self? {
    guard let map = reader.map(hint: "write it as {prompt: 16, beam: 5}") else { return nil }
    let prompt = map.int("prompt", Configuration.TextForm.lengths) ?? 16
    let beam = map.int("beam", .from(1, to: 1000))
    let temperature = map.number("temperature", NumberRange.positive.upTo(1e6))
    let topK = map.int("top_k", .from(1, to: 1_000_000))
    let topP = map.number("top_p", .fractionAboveZero)
    let drawn = ["temperature", "top_k", "top_p"].filter { map.value($0) != nil }
    if map.value("beam") != nil, let key = drawn.first {
      map.report(
        key, "\(map.path(to: key)) is for text that is drawn, and \(map.path(to: "beam")) looks for the likeliest",
        hint: "keep one of them")
    }
    map.finish()
    let decoding: Decoding =
      drawn.isEmpty ? .beam(width: beam ?? 5) : .sampling(temperature: temperature ?? 1, topK: topK, topP: topP)
    return Self(prompt: prompt, decoding: decoding)
  }
}

extension Configuration.OwnText {
  static func read(_ reader: RecipeReader) -> Self? {
    guard let map = reader.map(hint: "write it as {rate: 0.5, prompt: 16}") else { return nil }
    let text = Self(
      rate: map.number("rate", .fraction) ?? 0.5,
      prompt: map.int("prompt", Configuration.TextForm.lengths) ?? 16,
      start: map.value("start").flatMap { Moment.read($0, .notNegative) } ?? 0,
      temperature: map.number("temperature", NumberRange.positive.upTo(1e6)) ?? 1)
    map.finish()
    return text
  }
}

// MARK: - Printing

extension Configuration.WrittenText {
  var node: RecipeNode {
    switch decoding {
    case .greedy: .map(["prompt": .int(prompt), "beam": .int(1)])
    case .beam(let width): .map(["prompt": .int(prompt), "beam": .int(width)])
    case .sampling(let temperature, let topK, let topP):
      .map([
        "prompt": .int(prompt), "temperature": .number(temperature), "top_k": topK.map { .int($0) },
        "top_p": topP.map { .number($0) },
      ])
    }
  }
}

extension Configuration.OwnText {
  var node: RecipeNode {
    .map([
      "rate": .number(rate), "prompt": .int(prompt), "start": start.node, "temperature": .number(temperature),
    ])
  }
}

// MARK: - Checks

extension Configuration {
  /// What does not go with texts, and what goes with nothing else.
  func checkText(_ report: (String, String, String?, RecipeError.Problem.Severity) -> Void) {
    if data.labelledText != nil { checkTokens(report) }
    guard let text = data.text else {
      for (key, isThere) in [
        ("data.teacher_text", data.teacherText != nil), ("training.on_policy", training.onPolicy != nil),
      ] where isThere {
        report(
          key, "\(key) is for texts, and the dataset is '\(data.dataset)'", "leave it out, or use dataset: text", .error
        )
      }
      return
    }
    checkTokens(report)
    for (key, isThere) in [
      ("data.fractions", !data.fractions.isEmpty), ("data.leave_out", !data.leaveOut.isEmpty),
      ("teacher.specialists", teacher?.specialists != nil), ("data.views", data.views != nil),
      ("training.correct_bias", training.correctBias != .none), ("alone.correct_bias", alone.correctBias != .none),
      ("teacher.members", teacher?.members.contains { $0.classes != nil } ?? false),
    ] where isThere {
      let what = key == "teacher.members" ? "classes of a member" : key
      report(key, "\(what) has no place here: the examples of a text have no class", "leave it out", .error)
    }
    checkTeacherText(text, report)
    checkOwnText(text, report)
  }

  /// What cannot be done to tokens.
  private func checkTokens(_ report: (String, String, String?, RecipeError.Problem.Severity) -> Void) {
    let tokens = "the tokens of a text are numbers of things"
    if data.normalize != .none {
      report("data.normalize", "data.normalize has no place here: \(tokens)", "leave it out", .error)
    }
    let augmented: [(String, [Augmentation]?)] = [
      ("data.augmentation", data.augmentation), ("alone.augmentation", alone.augmentation),
      ("teacher.training.augmentation", teacher?.training?.augmentation),
    ]
    for (key, augmentation) in augmented where !(augmentation ?? []).isEmpty {
      report(key, "\(key) has no place here: \(tokens)", "leave it out", .error)
    }
  }

  private func checkTeacherText(
    _ text: TextForm, _ report: (String, String, String?, RecipeError.Problem.Severity) -> Void
  ) {
    guard let written = data.teacherText else { return }
    let key = "data.teacher_text"
    if written.prompt > text.length {
      report(
        "\(key).prompt", "\(key).prompt is \(written.prompt), but an example has \(text.length) tokens",
        "leave the teacher something to write", .error)
    }
    guard let teacher else {
      report(key, "\(key) needs a teacher, and there is none", "give a teacher", .error)
      return
    }
    if teacher.members.count != 1 {
      report(
        key, "\(key) is written by a teacher that is one model",
        "this one is \(teacher.members.isEmpty ? "made of students" : "an ensemble")", .error)
    }
    refusePrecomputing(teacher, key, report)
  }

  private func checkOwnText(
    _ text: TextForm, _ report: (String, String, String?, RecipeError.Problem.Severity) -> Void
  ) {
    guard let own = training.onPolicy else { return }
    let key = "training.on_policy"
    if own.prompt > text.length {
      report(
        "\(key).prompt", "\(key).prompt is \(own.prompt), but an example has \(text.length) tokens",
        "leave the student something to write", .error)
    }
    if training.length.ends(before: own.start) {
      report(
        "\(key).start",
        "\(key) never happens: it begins after \(own.start.words), and the training has \(training.length.words)", nil,
        .warning)
    }
    if !terms.contains(where: \.needsTeacher) {
      report(
        key, "\(key): what the student writes has no labels, and no term asks the teacher about it",
        "add '- soft_targets: {temperature: 1, divergence: reverse}' to terms", .error)
    }
    guard let teacher else { return }
    if !teacher.peers.isEmpty {
      report(
        key, "\(key) is not possible with teacher.peers", "students that learn from each other see the same text",
        .error)
    }
    refusePrecomputing(teacher, key, report)
  }

  private func refusePrecomputing(
    _ teacher: Teacher, _ key: String, _ report: (String, String, String?, RecipeError.Problem.Severity) -> Void
  ) {
    guard teacher.precompute == .always else { return }
    report(
      "teacher.precompute",
      "teacher.precompute: true keeps what the teacher says of the data, and \(key) shows other text",
      "take it out: the teacher runs live then", .error)
  }
}

extension DatasetOptions {
  /// How a recipe wants its text to be read.
  mutating func use(_ text: Configuration.TextForm?) {
    guard let text else { return }
    textUnit = text.unit
    textLength = text.length
  }
}

extension Architecture {
  /// A shape of inputs with which options can be tried out before the data is known.
  var trialShape: [Int] {
    switch input {
    case .tokens: [32]
    case .anything, .image: [3, 32, 32]
    }
  }
}
