import Foundation
import TestSupport
import Testing

@testable import DistillRecipes

/// Classes of the data that are found among those of a teacher that knows more.
@Suite struct OwnClassNamesTests {
  private let names = OwnClassNames(
    labels: [
      "tench, Tinca tinca", "tabby, tabby cat", "crane, machine", "espresso", "crane, bird", "missile",
      "projectile, missile",
    ], weights: "weights")

  @Test func findsClasses() throws {
    #expect(try names.numbers(["Tabby_cat", "tench"], known: [:]) == [1, 0, nil, nil, nil, nil, nil])
    #expect(try names.numbers(["cup", "tench"], known: ["cup": "espresso"]) == [1, nil, nil, 0, nil, nil, nil])
    #expect(
      try names.numbers(["bird", "Tinca tinca"], known: ["bird": "crane, bird"]) == [1, nil, nil, nil, 0, nil, nil])
    // The whole name of one before a part of another.
    #expect(try names.numbers(["missile"], known: [:]) == [nil, nil, nil, nil, nil, 0, nil])
  }

  @Test(
    arguments: [
      (["cup", "tench"], [:], "has no class 'cup': say what it calls it, classes: {cup: ...}"),
      (["cup", "tench"], ["cup": "expresso"], "has no class 'expresso' for 'cup'"),
      (["crane", "tench"], [:], "calls several classes 'crane', 'crane, machine' and 'crane, bird'"),
      (["tabby", "cat"], ["cat": "tabby cat"], "'cat' and 'tabby' are the same class"),
      (["tabby", "tench"], ["tenhc": "tench"], "'tenhc', which is no class of the data; did you mean 'tench'?"),
    ] as [([String], [String: String], String)])
  func refuses(_ classes: [String], _ known: [String: String], _ message: String) throws {
    let error = try #require(throws: RunError.self) { try names.numbers(classes, known: known) }
    #expect("\(error)".contains(message), "\(error)")
  }

  @Test(arguments: ["by_name", "{three: drei}", "[one, null, two]"])
  func recipesPrintWhatTheyRead(_ classes: String) throws {
    let recipe = try Configuration.parse(
      text: """
        data: {dataset: digits}
        teacher: {weights: folder, classes: \(classes)}
        student: {model: {architecture: mlp}}
        """)
    #expect(try Configuration.parse(text: recipe.yaml) == recipe)
    #expect(recipe.yaml.contains(classes == "{three: drei}" ? "three: drei" : "classes: "))
    #expect(try #require(recipe.teacher?.members.first).hasOtherClasses)
  }
}
