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
    /// Nil where it need not be said.
    var temperature: Double?
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
  /// How many opinions are side by side where there is room; a card with several is as wide as the page.
  var columns = 1

  func markup() -> Markup {
    element("article", ["class": columns > 1 ? "card wide-card" : "card"]) {
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
      if columns > 1 {
        element("div", ["class": "opinions", "style": "--columns:\(columns)"]) {
          for opinion in opinions { markup(of: opinion) }
        }
      } else {
        for opinion in opinions { markup(of: opinion) }
      }
    }
  }

  private func markup(of opinion: Opinion) -> Markup {
    element("div", ["class": "opinion \(opinion.tone.className)"]) {
      element("p", ["class": "who"]) {
        element("span", ["class": "swatch", "aria-hidden": "true"])
        opinion.model
        if let temperature = opinion.temperature {
          element("span", ["class": "aside"]) { "T = \(Quantity.plain(temperature))" }
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
