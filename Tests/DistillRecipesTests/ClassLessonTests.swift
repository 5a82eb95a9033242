import Foundation
import Testing

@testable import DistillRecipes

@Suite("What is learned of a class")
struct ClassLessonTests {
  private static func answers(_ model: String, _ rows: [[Double]]) -> ClassLesson.Answers {
    ClassLesson.Answers(model: model, rows: rows)
  }

  @Test("Soft targets and their divergence, against hand numbers")
  func arithmetic() {
    // softmax(ln 8, ln 1) = 8/9, 1/9; at T = 3 the logits are ln 2 and 0.
    let logits = [log(8.0), 0]
    #expect(abs(ClassLesson.softTarget(logits, 1)[0] - 8.0 / 9) < 1e-12)
    #expect(abs(ClassLesson.softTarget(logits, 3)[0] - 2.0 / 3) < 1e-12)
    let (p, q) = (ClassLesson.logSoftTarget(logits, 3), ClassLesson.logSoftTarget([0, 0], 3))
    let expected = 2.0 / 3 * log(4.0 / 3) + 1.0 / 3 * log(2.0 / 3)
    #expect(abs(ClassLesson.divergence(p, q) - expected) < 1e-12)
    #expect(ClassLesson.divergence(p, p) == 0)
    // Large logits overflow nothing, and a class without any probability adds nothing.
    let far = ClassLesson.logSoftTarget([2_000, 0, -2_000], 1)
    #expect(ClassLesson.divergence(far, ClassLesson.logSoftTarget([1, 0, 0], 1)).isFinite)
  }

  @Test("Means, neighbours, recall, mistakes, agreement and divergence of a class of three examples")
  func figures() throws {
    let (ln2, ln6) = (log(2.0), log(6.0))
    // Of classes a, b, c. Examples 0 to 2 are of a; 3 is of c.
    let teacher = Self.answers("teacher", [[ln6, ln2, 0], [ln6, ln2, 0], [0, ln6, ln2], [0, 0, ln6]])
    let student = Self.answers("student", [[ln6, ln2, 0], [0, ln6, 0], [0, 0, ln6], [0, 0, ln6]])
    let lesson = ClassLesson(
      "a", at: [0, 1, 2], answers: [teacher, student], classNames: ["a", "b", "c"], temperatures: [1, 2, 8])
    #expect(lesson.count == 3 && lesson.middleTemperature == 2)
    // At T = 1 the teacher says 6/9, 2/9, 1/9 twice and 1/9, 6/9, 2/9 once.
    let mean = try #require(lesson.softTarget(of: "teacher", at: 1))
    #expect(mean.shares.map(\.name) == ["a", "b", "c"])
    for (share, value) in zip(mean.shares, [13.0 / 27, 10.0 / 27, 4.0 / 27]) {
      #expect(abs(share.probability - value) < 1e-12)
    }
    #expect(mean.rest < 1e-12)
    #expect(lesson.neighbours.map(\.name) == ["b", "c"])
    #expect(lesson.neighbours[0].probabilities.map(\.name) == ["teacher", "student"])

    let (says, learned) = (lesson.models[0], lesson.models[1])
    #expect(abs(says.recall - 2.0 / 3) < 1e-12 && says.agreement == nil && says.divergences.isEmpty)
    #expect(says.mistakes.map(\.name) == ["b"])
    #expect(abs(learned.recall - 1.0 / 3) < 1e-12)
    #expect(learned.mistakes.map(\.name) == ["b", "c"])
    #expect(abs(try #require(learned.agreement) - 1.0 / 3) < 1e-12)
    #expect(learned.agreementOfAll == 0.5)
    #expect(learned.divergences.map(\.temperature) == [1, 2, 8])
    // On the fourth example both say the same, so that all four together are a quarter nearer.
    for divergence in learned.divergences {
      #expect(divergence.ofClass > 0 && abs(divergence.ofAll - divergence.ofClass * 3 / 4) < 1e-12)
    }

    // The third example is the odd one.
    let (typical, odd) = lesson.examples(3)
    #expect(typical == [0, 1] && odd == [2])
    #expect(lesson.examples(1).typical == [0] && lesson.examples(1).odd == [])
    #expect(lesson.examples(10).typical.count + lesson.examples(10).odd.count == 3)
    #expect(lesson.distances[0] < lesson.distances[2])
  }

  @Test("Many classes: the likeliest are listed, and what the others have together")
  func manyClasses() throws {
    let names = (0..<50).map { "class \($0)" }
    let rows = (0..<4).map { row in names.indices.map { Double(($0 * 17 + row) % 50) / 10 } }
    let lesson = ClassLesson(
      names[49], at: [0, 1, 2, 3], answers: [Self.answers("teacher", rows)], classNames: names, temperatures: [4])
    let target = try #require(lesson.softTarget(of: "teacher", at: 4))
    #expect(target.shares.count == 8 && target.rest > 0.3)
    #expect(abs(target.shares.reduce(target.rest) { $0 + $1.probability } - 1) < 1e-12)
    #expect(lesson.neighbours.count == 5)
    #expect(lesson.softTarget(of: "student", at: 4) == nil && lesson.model("student") == nil)
  }

  @Test("The page is well-formed, escapes what comes from files, and shows what is in the JSON")
  func page() throws {
    let explanation = ExplanationSample.ofClass()
    let html = ExplanationReport.html(explanation)
    #expect(html.contains("garments &lt;b&gt;") && !html.contains("garments <b>"))
    #expect(html.contains("To the teacher the class Shirt is most like"))
    for id in ["soft-targets", "neighbours", "learned", "typical", "odd", "alike"] {
      #expect(html.contains("id=\"\(id)\"") && html.contains("href=\"#\(id)\""), "\(id)")
    }
    let page = try Page(html)
    #expect(page.duplicateIds.isEmpty && page.namelessPictures == 0 && page.scopelessHeads == 0)
    #expect(page.references.allSatisfy(page.ids.contains), "\(page.references)")
    #expect(page.count["img"] == 4 && page.count["article"] == 7)
    let json = try #require(
      try JSONSerialization.jsonObject(with: ResultJSON.encode(explanation)) as? [String: Any])
    #expect(json["pictures"] == nil, "pictures are there as rows of grey")
    let lesson = try #require(json["lesson"] as? [String: Any])
    #expect((lesson["soft_targets"] as? [Any])?.count == 9)
    let models = try #require(lesson["models"] as? [[String: Any]])
    let student = try #require((models[1]["divergences"] as? [[String: Any]])?[1]["of_class"] as? Double)
    #expect(html.contains(Quantity.number(student, decimals: 3)))
  }

  @Test("Without a class, and with a teacher alone, the page says what there is")
  func lessToShow() {
    let all = ExplanationReport.html(ExplanationSample.ofAll())
    #expect(all.contains("The teacher knows") && all.contains("its student") && !all.contains("id=\"learned\""))
    var teacherOnly = ExplanationSample.ofAll()
    teacherOnly.studentAccuracy = nil
    #expect(!ExplanationReport.html(teacherOnly).contains("its student"))
    let lesson = ClassLesson(
      "a", at: [0], answers: [Self.answers("teacher", [[1, 0]])], classNames: ["a", "b"], temperatures: [1])
    teacherOnly.lesson = lesson
    #expect(teacherOnly.statement == "To the teacher the class a is most like b.")
  }
}
