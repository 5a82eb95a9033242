import Foundation

/// The page of an explanation: what a teacher knows beyond the labels, and what its student learned of it. Of the same
/// kind as the report of a run.
public enum ExplanationReport {
  /// The whole page.
  public static func html(_ explanation: Explanation, date: Date = Date()) -> String {
    let subject = explanation.lesson.map { "The class \($0.name)" } ?? "What the teacher knows"
    let title = explanation.recipe.isEmpty ? subject : "\(subject), \(explanation.recipe)"
    return ReportPage(
      kind: "Dark knowledge", title: title, windowTitle: title, date: date, contents: contents(explanation),
      style: style
    ).html {
      ExplanationVerdictSection(explanation: explanation).markup()
      if let lesson = explanation.lesson {
        SoftTargetsSection(lesson: lesson).markup()
        NeighboursSection(lesson: lesson).markup()
        LearnedSection(lesson: lesson).markup()
      }
      for group in ExampleGroup.all(explanation) { group.markup() }
      AlikeSection(explanation: explanation).markup()
      ExplanationWordsSection().markup()
    }
  }

  private static func contents(_ explanation: Explanation) -> [(String, String)] {
    var places: [(String, String)] = []
    if let lesson = explanation.lesson {
      places.append(("Soft targets", "soft-targets"))
      if !lesson.neighbours.isEmpty { places.append(("Neighbours", "neighbours")) }
      places.append(("Learned", "learned"))
    }
    for group in ExampleGroup.all(explanation) { places.append((group.name, group.id)) }
    if !explanation.similarities.isEmpty { places.append(("Similar classes", "alike")) }
    return places + [("Words", "words")]
  }

  private static let style = """
    .cards.three{grid-template-columns:repeat(auto-fit,minmax(min(100%,18.5rem),1fr))}
    .alike th[scope=row]{white-space:nowrap}.alike td{color:var(--soft)}
    .wide-card{grid-column:1/-1}
    .opinions{display:grid;grid-template-columns:minmax(0,1fr);gap:1rem 2.4rem}.opinions .opinion{margin:0}
    @media (min-width:48rem){.opinions{grid-template-columns:repeat(var(--columns),minmax(0,1fr))}}
    """
}

extension Tone {
  /// The colour of a model of an explanation.
  fileprivate init(of model: String) {
    self = model == "teacher" ? .teacher : model == "alone" ? .alone : .distilled
  }
}

/// The name of a model as a sentence has it.
private func called(_ model: String) -> String { model == "alone" ? "the student alone" : "the \(model)" }

/// Without a break in it.
private func temperatureText(_ temperature: Double) -> String {
  "T\(Quantity.space)=\(Quantity.space)\(Quantity.plain(temperature))"
}

private func percent(_ share: Double?) -> String { Quantity.percent(share, decimals: 1) }

/// How much of all this the models know.
private struct ExplanationVerdictSection {
  var explanation: Explanation

  func markup() -> Markup {
    element("section", ["id": "verdict", "class": "verdict", "aria-label": "Verdict"]) {
      element("div", ["class": "wrap"]) {
        element("p", ["class": "statement"]) { explanation.statement }
        element("p", ["class": "lead"]) {
          "Looked at: \(counted(explanation.sampleCount, "example")) (\(explanation.dataset))"
            + (explanation.lesson.map { ", and \(Quantity.integer($0.count)) of the class \($0.name)" } ?? "") + "."
        }
        if let lesson = explanation.lesson {
          element("dl", ["class": "facts"]) {
            for fact in facts(lesson) {
              element("div") {
                element("dt") { fact.name }
                element("dd") { fact.value }
              }
            }
          }
        }
      }
    }
  }

  private func facts(_ lesson: ClassLesson) -> [(name: String, value: String)] {
    var facts: [(name: String, value: String)] = []
    for model in lesson.models { facts.append(("of the class known by \(called(model.name))", percent(model.recall))) }
    for model in lesson.models {
      guard let agreement = model.agreement else { continue }
      facts.append(("of the class called by \(called(model.name)) what the teacher calls it", percent(agreement)))
    }
    return facts
  }
}

extension Explanation {
  /// What is most worth knowing, in a sentence or two.
  public var statement: String {
    guard let lesson else {
      let student = studentAccuracy.map { ", its student \(Quantity.percent($0))" } ?? ""
      return "The teacher knows \(Quantity.percent(teacherAccuracy)) of the test examples\(student)."
    }
    let nearest = lesson.neighbours.prefix(2).map(\.name).joined(separator: " and ")
    let teacher =
      nearest.isEmpty
      ? "The teacher is sure of the class \(lesson.name)."
      : "To the teacher the class \(lesson.name) is most like \(nearest)."
    let temperature = lesson.middleTemperature
    guard let student = lesson.model("student")?.divergence(at: temperature) else { return teacher }
    let distance = Quantity.number(student.ofClass, decimals: 3)
    let words =
      "\(teacher) At \(temperatureText(temperature)) the soft targets of its student are \(distance) nats from its own"
    guard let alone = lesson.model("alone")?.divergence(at: temperature) else { return "\(words)." }
    return "\(words), those of the student alone \(Quantity.number(alone.ofClass, decimals: 3))."
  }
}

extension ClassLesson.Model {
  public func divergence(at temperature: Double) -> ClassLesson.Divergence? {
    divergences.first { $0.temperature == temperature }
  }
}

/// The mean soft targets of a class, a card for each temperature.
private struct SoftTargetsSection {
  var lesson: ClassLesson

  /// So many classes are drawn of each; the numbers of more are in the JSON.
  private static let most = 5

  func markup() -> Markup {
    section(
      "soft-targets", "What the class is to them",
      lead:
        "The mean soft target of the \(counted(lesson.count, "test example")) of the class \(lesson.name). At "
        + "\(temperatureText(1)) most of it is the class itself; a higher temperature brings out what else a model finds "
        + "in them."
    ) {
      element("div", ["class": "cards three"]) {
        for temperature in lesson.temperatures { card(temperature) }
      }
    }
  }

  private func card(_ temperature: Double) -> Markup {
    let targets = lesson.softTargets.filter { $0.temperature == temperature }
    return ExampleCard(
      title: temperatureText(temperature), subtitle: "mean probabilities", picture: nil, pictureText: "",
      opinions: targets.map { target in
        let others = 1 - target.shares.prefix(Self.most).reduce(0) { $0 + $1.probability }
        let shown = target.shares.prefix(Self.most).map {
          ExampleCard.Guess(name: $0.name, probability: $0.probability, isTrue: $0.name == lesson.name)
        }
        let rest = ExampleCard.Guess(name: "all others", probability: max(0, others), isTrue: false)
        return ExampleCard.Opinion(
          model: target.model, tone: Tone(of: target.model), temperature: nil,
          guesses: shown + (target.shares.count > Self.most ? [rest] : []), isJudged: false)
      }
    ).markup()
  }
}

/// A table whose first column names things and whose others have numbers.
private func table(_ label: String, _ columns: [String], _ rows: [(tone: Tone?, cells: [String])]) -> Markup {
  scrolling(label) {
    element("table", ["class": "comparison"]) {
      element("thead") {
        element("tr") {
          for (place, column) in columns.enumerated() {
            element("th", ["scope": "col", "class": place > 0 ? "number" : nil]) { column }
          }
        }
      }
      element("tbody") {
        for row in rows {
          element("tr", ["class": row.tone?.className]) {
            for (place, cell) in row.cells.enumerated() {
              if place == 0 {
                element("th", ["scope": "row"]) {
                  if row.tone != nil { element("span", ["class": "swatch", "aria-hidden": "true"]) }
                  cell
                }
              } else {
                element("td", ["class": "number"]) { cell }
              }
            }
          }
        }
      }
    }
  }
}

/// The classes that the teacher finds most like one.
private struct NeighboursSection {
  var lesson: ClassLesson

  func markup() -> Markup? {
    guard let first = lesson.neighbours.first else { return nil }
    let temperature = temperatureText(lesson.middleTemperature)
    return section(
      "neighbours", "Nearest classes",
      lead:
        "The mean probability at \(temperature) that each model gives to other classes for examples of the class "
        + "\(lesson.name), those first that the teacher finds most like it."
    ) {
      table(
        "Nearest classes", ["Class"] + first.probabilities.map(\.name),
        lesson.neighbours.map { neighbour -> (tone: Tone?, cells: [String]) in
          (tone: nil, cells: [neighbour.name] + neighbour.probabilities.map { Quantity.percent($0.probability) })
        })
    }
  }
}

/// What the students made of it.
private struct LearnedSection {
  var lesson: ClassLesson

  func markup() -> Markup {
    section(
      "learned", "What was learned of it",
      lead:
        "How often the class is known, how often a student says what the teacher says, and how far its soft targets are "
        + "from the teacher's: KL(teacher ‖ student) in nats on the examples of the class, and in brackets on all "
        + "that were looked at."
    ) {
      table(
        "What was learned of the class", columns,
        lesson.models.map { model -> (tone: Tone?, cells: [String]) in
          let agreement = model.agreement.map { "\(percent($0)) (\(percent(model.agreementOfAll)))" }
          let divergences = lesson.temperatures.map { temperature in
            model.divergence(at: temperature).map {
              "\(Quantity.number($0.ofClass, decimals: 3)) (\(Quantity.number($0.ofAll, decimals: 3)))"
            } ?? Quantity.missing
          }
          let first = [model.name, percent(model.recall), agreement ?? Quantity.missing]
          return (tone: Tone(of: model.name), cells: first + divergences + [mistakes(model)])
        })
    }
  }

  private var columns: [String] {
    ["Model", "Known", "Agreement"] + lesson.temperatures.map { "KL at \(temperatureText($0))" }
      + ["Taken for instead"]
  }

  private func mistakes(_ model: ClassLesson.Model) -> String {
    let shown = model.mistakes.prefix(3).map { "\($0.name) \(percent($0.probability))" }
    return shown.isEmpty ? Quantity.missing : shown.joined(separator: ", ")
  }
}

/// Examples that are shown together.
private struct ExampleGroup {
  var id: String
  var name: String
  var title: String
  var lead: String
  var examples: [Explanation.Example]
  var pictures: [Int: ReportData.Picture]
  /// The opinions of a model are side by side: at so many temperatures each is asked.
  var columns: Int

  static func all(_ explanation: Explanation) -> [ExampleGroup] {
    let temperature = explanation.lesson.map { temperatureText($0.middleTemperature) } ?? ""
    let groups: [(kind: Explanation.Example.Kind?, id: String, name: String, title: String, lead: String)] = [
      (
        .typical, "typical", "Typical", "Typical examples",
        "The examples of the class whose soft targets at \(temperature) are nearest to the mean one."
      ),
      (
        .odd, "odd", "Odd", "Odd examples",
        "Those whose soft targets are farthest from it: what the teacher sees in them it sees in no other of the class."
      ),
      (
        nil, "examples", "Examples", "Examples",
        "Test images with the likeliest classes by teacher and student. The filled bar is the true class."
      ),
    ]
    return groups.compactMap { group in
      let examples = explanation.examples.filter { $0.kind == group.kind }
      guard !examples.isEmpty else { return nil }
      return ExampleGroup(
        id: group.id, name: group.name, title: group.title, lead: group.lead, examples: examples,
        pictures: explanation.pictures, columns: min(4, explanation.lesson?.temperatures.count ?? 1))
    }
  }

  func markup() -> Markup {
    section(id, title, lead: lead) {
      element("div", ["class": "cards"]) {
        for example in examples { card(example) }
      }
    }
  }

  private func card(_ example: Explanation.Example) -> Markup {
    let name = example.label ?? "no label"
    let distance = example.distance.map { ", distance \(Quantity.number($0, decimals: 3))" } ?? ""
    let lowest = example.opinions.map(\.temperature).min()
    return ExampleCard(
      title: name, subtitle: "test example \(Quantity.integer(example.number))\(distance)",
      picture: pictures[example.number], pictureText: "Test example \(example.number), \(name)",
      opinions: example.opinions.map { opinion in
        ExampleCard.Opinion(
          model: opinion.model, tone: Tone(of: opinion.model), temperature: opinion.temperature,
          guesses: opinion.shares.map { share in
            ExampleCard.Guess(
              name: share.name, probability: share.probability, isTrue: share.name == example.label)
          },
          // Right or wrong they are at all temperatures alike.
          isJudged: example.label != nil && opinion.temperature == lowest)
      }, columns: columns
    ).markup()
  }
}

/// All classes with those that the teacher finds like them.
private struct AlikeSection {
  var explanation: Explanation

  /// More classes than this are not listed on the page.
  private static let most = 200

  func markup() -> Markup? {
    let middle = explanation.similarities.map(\.temperature).sorted()
    guard !middle.isEmpty,
      let shown = explanation.similarities.first(where: { $0.temperature == middle[middle.count / 2] })
    else { return nil }
    return section(
      "alike", "Which classes the teacher finds alike",
      lead: "For the examples of each class the other classes with the highest mean probability, at "
        + "\(temperatureText(shown.temperature))."
        + (shown.classes.count > Self.most ? " The first \(Self.most) of \(shown.classes.count) classes." : "")
    ) {
      scrolling("Classes that the teacher finds alike") {
        element("table", ["class": "alike"]) {
          element("thead") {
            element("tr") {
              element("th", ["scope": "col"]) { "Class" }
              element("th", ["scope": "col"]) { "Most like it" }
            }
          }
          element("tbody") {
            for kin in shown.classes.prefix(Self.most) {
              element("tr") {
                element("th", ["scope": "row"]) { kin.name }
                element("td") {
                  kin.nearest.map { "\($0.name) \(percent($0.probability))" }.joined(separator: ", ")
                }
              }
            }
          }
        }
      }
    }
  }
}

private struct ExplanationWordsSection {
  func markup() -> Markup { wordsSection(Self.words) }

  private static let words: [(word: String, meaning: String)] = [
    ("Soft target", "What a model says of an example at a temperature T: softmax(logits / T)."),
    ("Dark knowledge", "What the soft targets hold beyond the true class: which wrong answers are nearly right."),
    ("Temperature", "The higher, the flatter the soft targets. A student is taught at the temperature of its recipe."),
    ("Distance", "KL(soft target of the example ‖ mean soft target of its class) of the teacher, in nats."),
    ("KL", "The Kullback-Leibler divergence from teacher to student: 0 where both say the same."),
    ("Agreement", "The share of examples for which both name the same class, right or wrong."),
    ("Alone", "The same student, trained on the labels only."),
  ]
}
