/// Images on which the models differ, with what each of them says.
struct ExamplesSection {
  var data: ReportData

  /// So many are shown at once; the rest can be unfolded.
  private static let shown = 12

  func markup() -> Markup? {
    guard !data.examples.isEmpty else { return nil }
    return section(
      "examples", "Where they differ",
      lead:
        "Test images that teacher, student alone and distilled student see differently, each with the most probable "
        + "classes. The filled bar is the true class."
    ) {
      cards(data.examples.prefix(Self.shown))
      if data.examples.count > Self.shown {
        element("details", ["class": "block"]) {
          element("summary") { "\(Quantity.integer(data.examples.count - Self.shown)) more" }
          cards(data.examples.dropFirst(Self.shown))
        }
      }
    }
  }

  private func cards(_ examples: ArraySlice<ReportData.Example>) -> Markup {
    element("div", ["class": "cards"]) {
      for example in examples { card(example) }
    }
  }

  private func card(_ example: ReportData.Example) -> Markup {
    let name = data.className(example.label)
    return ExampleCard(
      title: name, subtitle: "test image \(Quantity.integer(example.id))", picture: example.picture,
      pictureText: "Test image \(example.id), \(name)",
      opinions: example.opinions.map { opinion in
        ExampleCard.Opinion(
          model: opinion.model, tone: tone(opinion.model),
          temperature: opinion.temperature == 1 ? nil : opinion.temperature,
          guesses: opinion.top.map { guess in
            ExampleCard.Guess(
              name: data.className(guess.classIndex), probability: guess.probability,
              isTrue: guess.classIndex == example.label)
          })
      }
    ).markup()
  }

  private func tone(_ model: String) -> Tone {
    if model.lowercased() == "teacher" { return .teacher }
    for setting in data.settings {
      if let index = setting.arms.firstIndex(where: { $0.name == model }) { return setting.tone(index) }
    }
    return .third
  }
}
