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
    element("article", ["class": "card"]) {
      element("header") {
        if let picture = example.picture, let file = InlinePicture.encoded(picture) {
          element(
            "img",
            [
              "src": InlinePicture.address(file), "alt": "Test image \(example.id), \(data.className(example.label))",
              "width": "72", "height": "72", "class": max(picture.width, picture.height) <= 64 ? "pixels" : nil,
            ])
        }
        element("div") {
          element("h3") { data.className(example.label) }
          element("p") { "test image \(Quantity.integer(example.id))" }
        }
      }
      for opinion in example.opinions { self.opinion(opinion, label: example.label) }
    }
  }

  private func opinion(_ opinion: ReportData.Opinion, label: Int) -> Markup {
    let isRight = opinion.top.first?.classIndex == label
    return element("div", ["class": "opinion \(tone(opinion.model).className)"]) {
      element("p", ["class": "who"]) {
        element("span", ["class": "swatch", "aria-hidden": "true"])
        opinion.model
        if opinion.temperature != 1 {
          element("span", ["class": "aside"]) { "T = \(Quantity.plain(opinion.temperature))" }
        }
        if !opinion.top.isEmpty {
          element("span", ["class": isRight ? "judgement right" : "judgement wrong"]) {
            isRight ? "✓ right" : "✗ wrong"
          }
        }
      }
      element("ol") {
        for guess in opinion.top {
          let probability = guess.probability.isFinite ? min(max(guess.probability, 0), 1) : 0
          element("li", ["class": guess.classIndex == label ? "true" : nil]) {
            element("span", ["class": "name"]) { data.className(guess.classIndex) }
            element("span", ["class": "track", "aria-hidden": "true"]) {
              element("span", ["style": "width:\(coordinate(probability * 100))%"])
            }
            element("span", ["class": "number"]) {
              Quantity.percent(guess.probability.isFinite ? guess.probability : nil, decimals: 1)
            }
          }
        }
      }
    }
  }

  private func tone(_ model: String) -> Tone {
    if model.lowercased() == "teacher" { return .teacher }
    for setting in data.settings {
      if let index = setting.arms.firstIndex(where: { $0.name == model }) { return setting.tone(index) }
    }
    return .third
  }
}
