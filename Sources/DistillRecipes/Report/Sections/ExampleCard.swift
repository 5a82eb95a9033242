/// An example of the test split with what models say of it.
struct ExampleCard {
  struct Guess {
    var name: String
    var probability: Double
    /// Whether it is the example's class.
    var isTrue: Bool
  }

  struct Opinion {
    var model: String
    var tone: Tone
    var temperature: Double
    /// The likeliest classes first.
    var guesses: [Guess]
    /// Whether it is said if the first guess is right.
    var isJudged = true
  }

  var title: String
  var subtitle: String
  var picture: ReportData.Picture?
  /// The picture in words.
  var pictureText: String
  var opinions: [Opinion]

  func markup() -> Markup {
    element("article", ["class": "card"]) {
      element("header") {
        if let picture, let file = InlinePicture.encoded(picture) {
          element(
            "img",
            [
              "src": InlinePicture.address(file), "alt": pictureText, "width": "72", "height": "72",
              "class": max(picture.width, picture.height) <= 64 ? "pixels" : nil,
            ])
        }
        element("div") {
          element("h3") { title }
          element("p") { subtitle }
        }
      }
      for opinion in opinions { markup(of: opinion) }
    }
  }

  private func markup(of opinion: Opinion) -> Markup {
    element("div", ["class": "opinion \(opinion.tone.className)"]) {
      element("p", ["class": "who"]) {
        element("span", ["class": "swatch", "aria-hidden": "true"])
        opinion.model
        if opinion.temperature != 1 {
          element("span", ["class": "aside"]) { "T = \(Quantity.plain(opinion.temperature))" }
        }
        if opinion.isJudged, let first = opinion.guesses.first {
          element("span", ["class": first.isTrue ? "judgement right" : "judgement wrong"]) {
            first.isTrue ? "✓ right" : "✗ wrong"
          }
        }
      }
      element("ol") {
        for guess in opinion.guesses {
          let probability = guess.probability.isFinite ? min(max(guess.probability, 0), 1) : 0
          element("li", ["class": guess.isTrue ? "true" : nil]) {
            element("span", ["class": "name"]) { guess.name }
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
}
