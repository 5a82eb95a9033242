@testable import DistillRecipes

/// Made-up explanations with the shape of real ones, to look at and to test their page with.
enum ExplanationSample {
  static let temperatures = [1.0, 4, 20]

  /// Logits of which softmax at T = 1 is near to what a model of garments says.
  private static func logits(_ label: Int, _ number: Int, sharpness: Double) -> [Double] {
    ReportSample.garments.indices.map { index in
      let wobble = Double((index * 7 + number * 13) % 11) / 11 - 0.5
      return index == label ? 9 * sharpness : 9 * sharpness * ReportSample.likeness(label, index) + wobble
    }
  }

  /// Of 40 examples, 4 of each class.
  private static func answers(_ model: String, sharpness: Double) -> ClassLesson.Answers {
    ClassLesson.Answers(
      model: model, rows: (0..<40).map { logits($0 % 10, $0, sharpness: sharpness * ($0 == 36 ? 0.2 : 1)) })
  }

  /// What is taught of shirts.
  static func lesson() -> ClassLesson {
    ClassLesson(
      "Shirt", at: [6, 16, 26, 36],
      answers: [
        answers("teacher", sharpness: 1), answers("student", sharpness: 0.8), answers("alone", sharpness: 0.4),
      ], classNames: ReportSample.garments, temperatures: temperatures)
  }

  static func ofClass() -> Explanation {
    let lesson = lesson()
    let (typical, odd) = lesson.examples(4)
    let examples = (typical + odd).map { place in
      Explanation.Example(
        number: 6 + 10 * place, label: "Shirt", kind: odd.contains(place) ? .odd : .typical,
        distance: lesson.distances[place], picture: [],
        opinions: ["teacher", "student", "alone"].flatMap { model in
          temperatures.map { opinion(model, $0, place) }
        })
    }
    return Explanation(
      recipe: "garments <b>", dataset: "fashion-mnist", sampleCount: 2_000, teacherAccuracy: 0.937,
      studentAccuracy: 0.912, aloneAccuracy: 0.907, lesson: lesson, examples: examples, similarities: similarities,
      pictures: Dictionary(uniqueKeysWithValues: examples.map { ($0.number, ReportSample.picture($0.number % 5)) }))
  }

  static func ofAll() -> Explanation {
    let examples = [3, 17].map { number in
      Explanation.Example(
        number: number, label: ReportSample.garments[number % 10], kind: nil, distance: nil, picture: [],
        opinions: [opinion("teacher", 1, number), opinion("teacher", 4, number), opinion("student", 1, number)])
    }
    return Explanation(
      recipe: "garments", dataset: "fashion-mnist", sampleCount: 2_000, teacherAccuracy: 0.937, studentAccuracy: 0.912,
      examples: examples, similarities: similarities,
      pictures: [3: ReportSample.picture(1), 17: ReportSample.picture(2, channels: 3)])
  }

  private static func opinion(_ model: String, _ temperature: Double, _ number: Int) -> Explanation.Opinion {
    let target = ClassLesson.softTarget(logits(6, number, sharpness: 1), temperature)
    let top = target.indices.sorted { target[$0] > target[$1] }.prefix(4)
    return Explanation.Opinion(
      model: model, temperature: temperature,
      shares: top.map { Explanation.Share(name: ReportSample.garments[$0], probability: target[$0]) })
  }

  private static var similarities: [Explanation.Similarity] {
    temperatures.map { temperature in
      Explanation.Similarity(
        temperature: temperature,
        classes: ReportSample.garments.map { name in
          Explanation.Kin(
            name: name,
            nearest: ReportSample.garments.filter { $0 != name }.prefix(3).map {
              Explanation.Share(name: $0, probability: 0.02 * temperature)
            })
        })
    }
  }
}
