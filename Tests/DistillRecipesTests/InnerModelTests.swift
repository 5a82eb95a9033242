import DistillModels
import DistillRuntime
import Distillation
import Testing
import Torch

@testable import DistillRecipes

/// Models inside models, as recipes write them.
@Suite struct InnerModelTests {
  private func recipe(_ student: String) -> String {
    """
    data: {dataset: digits}
    teacher: {weights: teacher}
    student:
      model: \(student)
      copy: conv1
    terms:
      - reused_classifier
    """
  }

  private func problems(_ student: String) -> String {
    do {
      _ = try Configuration.parse(text: recipe(student))
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func areReadWithTheirDefaultsAndPrinted() throws {
    let first = try Configuration.parse(
      text: recipe("{architecture: reused-classifier, student: {architecture: resnet-cifar, depth: 14}, reduction: 4}"))
    let model = try #require(first.student.model)
    #expect(
      model.options["student"]
        == .model(InnerModel("resnet-cifar", ["depth": 14, "width": 1.0, "shortcut": "zero-padding"])))
    #expect(model.options["reduction"] == 4)
    #expect(
      first.student.node.flow.contains(
        "student: {architecture: resnet-cifar, depth: 14, shortcut: zero-padding, width: 1}"))
    let second = try Configuration.parse(text: first.yaml)
    #expect(second.student == first.student)
    #expect(try second.hash(of: [.student]) == first.hash(of: [.student]))
    let specification = try first.student.specification(inputShape: [1, 8, 8], classCount: 10)
    #expect(try ModelZoo.resolve(specification) == specification)
  }

  @Test func problemsHaveTheirPlace() {
    let typo = problems("{architecture: reused-classifier, student: {architecture: resnet-cifra}}")
    #expect(typo.contains("student.model.student.architecture") && typo.contains("resnet-cifar"))
    #expect(typo.contains("4:"), "\(typo)")
    let option = problems("{architecture: reused-classifier, student: {architecture: resnet-cifar, depth: 9}}")
    #expect(option.contains("student.model.student.depth"), "\(option)")
    let unknown = problems("{architecture: reused-classifier, student: {architecture: mlp, depth: 9}}")
    #expect(unknown.contains("unknown key 'depth' in student.model.student"), "\(unknown)")
    let word = problems("{architecture: reused-classifier, student: mlp}")
    #expect(word.contains("student.model.student"), "\(word)")
    let nested = problems("{architecture: reused-classifier, student: {architecture: reused-classifier}}")
    #expect(nested.contains("a model of another family"), "\(nested)")
    let wrong = problems("{architecture: mlp, hidden: {architecture: mlp}}")
    #expect(wrong.contains("student.model.hidden"), "\(wrong)")
  }

  @Test func aModelFolderHoldsOne() throws {
    try RunRecipe.withFolder { path in
      let specification = try ReusedClassifier.specification(
        student: ModelSpecification("convnet", ["widths": [3]], inputShape: [1, 8, 8], classCount: 2),
        teacher: ModelSpecification("convnet", ["widths": [6]], inputShape: [1, 8, 8], classCount: 2))
      let model = try ModelZoo.make(specification)
      let folder = ModelFolder(path)
      try folder.save(
        model, .init(model: specification, labels: ["a", "b"], normalization: nil), card: "A model.\n")
      let (loaded, description) = try folder.load()
      #expect(try ModelZoo.resolve(description.model) == specification)
      for (one, other) in zip(loaded.state, model.state) {
        #expect(one.name == other.name)
        #expect(try one.tensor.doubles() == other.tensor.doubles())
      }
      let inspected = try #require(try Inspection(path).models.first)
      #expect(inspected.summary.parameters == model.parameterCount)
      #expect(inspected.summary.rows.contains { $0.path == "projector.conv2" })
    }
  }
}
