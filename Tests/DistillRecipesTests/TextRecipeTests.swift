import DistillData
import DistillModels
import Distillation
import Testing

@testable import DistillRecipes

/// What recipes say of texts: read, printed, refused.
@Suite("Texts in recipes")
struct TextRecipeTests {
  static func text(
    _ data: String = "", training: String = "", teacher: String = "", terms: String = "[soft_targets]",
    more: String = ""
  ) -> String {
    """
    name: text
    seeds: [1]
    threads: 1
    data: {dataset: text, path: x.txt\(data.isEmpty ? "" : ", \(data)")}
    teacher: {model: {architecture: decoder, depth: 1, width: 8, heads: 2}, training: {epochs: 1}\(teacher)}
    student: {model: {architecture: decoder, depth: 1, width: 8, heads: 2}}
    terms: \(terms)
    training: {epochs: 2\(training.isEmpty ? "" : ", \(training)")}
    \(more)
    """
  }

  private func recipe(_ text: String) throws -> Configuration { try Configuration.parse(text: text) }

  private func message(_ text: String) -> String {
    do {
      _ = try recipe(text)
      return "no problem"
    } catch { return "\(error)" }
  }

  @Test("What holds where nothing is said: bytes, 128 of them, no normalization, the loss chooses")
  func defaults() throws {
    let recipe = try recipe(Self.text())
    #expect(recipe.data.text == Configuration.TextForm(unit: .bytes, length: 128))
    #expect(recipe.data.testFraction == 0.1)
    #expect(recipe.data.normalize == .none)
    #expect(recipe.data.teacherText == nil && recipe.training.onPolicy == nil)
    #expect(recipe.training.metric == .loss && recipe.alone.metric == .loss)
    #expect(recipe.student.model?.options["width"] == .integer(8))
    let images = try Configuration.parse(text: RunRecipe.text())
    #expect(images.data.text == nil && images.data.normalize == .measured && images.training.metric == .accuracy)
  }

  @Test(
    "All of it is read, and printed so that it reads the same",
    arguments: [
      ("unit: characters, length: 16, test_fraction: 0.25", ""),
      ("teacher_text: {prompt: 4, beam: 3}", ""), ("teacher_text: {}", ""), ("teacher_text: {beam: 1}", ""),
      ("teacher_text: {prompt: 8, temperature: 0.7, top_k: 5, top_p: 0.9}", ""),
      ("", "on_policy: {rate: 0.25, prompt: 4, start: 10 steps, temperature: 0.5}"), ("", "on_policy: {}"),
    ])
  func roundTrip(_ data: String, _ training: String) throws {
    let first = try recipe(Self.text(data, training: training))
    let second = try recipe(first.yaml)
    #expect(first == second)
    #expect(first.yaml == second.yaml)
    #expect(first.data == second.data && first.training == second.training)
  }

  @Test("Values go where they belong")
  func values() throws {
    let drawn = try recipe(Self.text("teacher_text: {prompt: 8, top_k: 5}")).data.teacherText
    #expect(drawn == .init(prompt: 8, decoding: .sampling(temperature: 1, topK: 5, topP: nil)))
    #expect(try recipe(Self.text("teacher_text: {}")).data.teacherText == .init(prompt: 16, decoding: .beam(width: 5)))
    let own = try recipe(Self.text(training: "on_policy: {start: 1}"))
    #expect(own.training.onPolicy == .init(rate: 0.5, prompt: 16, start: .epoch(1), temperature: 1))
    // Nobody would answer them.
    #expect(own.alone.onPolicy == nil && own.teacher?.training?.onPolicy == nil)
  }

  @Test("A stage inherits both, and takes them back")
  func stages() throws {
    let recipe = try recipe(
      Self.text(
        "teacher_text: {prompt: 4}", training: "on_policy: {rate: 1}",
        more: """
          stages:
            - {name: both}
            - {name: data, data: {teacher_text: null}}
            - {name: neither, data: {teacher_text: null}, training: {on_policy: null}}
            - {name: other, data: {teacher_text: {prompt: 9, temperature: 2}}, training: {on_policy: {rate: 0.1}}}
          """))
    let stages = recipe.stages.map(\.configuration)
    #expect(stages.map { $0.data.teacherText?.prompt } == [4, nil, nil, 9])
    #expect(stages.map { $0.training.onPolicy?.rate } == [1, 1, nil, 0.1])
    #expect(try Configuration.parse(text: recipe.yaml) == recipe)
    #expect(recipe.description(ofStage: 0).contains("on text that the teacher wrote; on its own text in 100"))
  }

  @Test(
    "What is wrong is said",
    arguments: [
      ("unit: words", "", "", "data.unit must be bytes or characters"),
      ("length: 0", "", "", "data.length must be a whole number from 1 to 65536"),
      ("length: 1e99", "", "", "data.length must be a whole number"),
      ("test_fraction: 1", "", "", "data.test_fraction must be a number"),
      ("normalize: true", "", "", "data.normalize has no place here"),
      ("normalize: {mean: [0], standard_deviation: [1]}", "", "", "data.normalize has no place here"),
      ("augmentation: [{flip: 0.5}]", "", "", "data.augmentation has no place here"),
      ("leave_out: [a]", "", "", "data.leave_out has no place here"),
      ("fractions: {a: 0.5}", "", "", "data.fractions has no place here"),
      ("teacher_text: {prompt: 0}", "", "", "data.teacher_text.prompt must be a whole number"),
      ("teacher_text: {prompt: 129}", "", "", "data.teacher_text.prompt is 129, but an example has 128 tokens"),
      ("teacher_text: {beam: 0}", "", "", "data.teacher_text.beam must be a whole number"),
      ("teacher_text: {beam: 2, temperature: 1}", "", "", "keep one of them"),
      ("teacher_text: {temperature: 0}", "", "", "data.teacher_text.temperature must be a number above 0"),
      ("teacher_text: {top_p: 1.5}", "", "", "data.teacher_text.top_p must be a number"),
      ("teacher_text: {top_k: .inf}", "", "", "data.teacher_text.top_k must be a whole number"),
      ("teacher_text: {bean: 5}", "", "", "did you mean 'beam'"),
      ("teacher_text: 16", "", "", "{prompt: 16, beam: 5}"),
      (
        "teacher_text: {}", "", ", precompute: true", "teacher.precompute: true keeps what the teacher says of the data"
      ),
      ("", "on_policy: {rate: 2}", "", "training.on_policy.rate must be a number from 0 to 1"),
      ("", "on_policy: {rate: .nan}", "", "training.on_policy.rate must be a number"),
      ("", "on_policy: {start: -1}", "", "training.on_policy.start must be"),
      ("", "on_policy: {start: 3 weeks}", "", "training.on_policy.start must be"),
      ("", "on_policy: {temperature: 0}", "", "training.on_policy.temperature must be"),
      ("", "on_policy: {prompt: 200}", "", "training.on_policy.prompt is 200"),
      ("", "on_policy: [0.5]", "", "{rate: 0.5, prompt: 16}"),
      ("", "on_policy: {}", ", precompute: true", "teacher.precompute: true keeps"),
    ])
  func problems(_ data: String, _ training: String, _ teacher: String, _ expected: String) {
    let said = message(Self.text(data, training: training, teacher: teacher))
    #expect(said.contains(expected), "\(said)")
  }

  @Test("What goes with no other data, with no teacher, or with no term is said")
  func places() {
    for (key, datasets) in [
      ("unit: bytes", "dataset 'text'"), ("length: 5", "dataset 'text'"),
      ("test_fraction: 0.1", "datasets 'text', 'labelled-text' and 'folder'"),
    ] {
      let text = RunRecipe.text().replacing("{dataset: digits}", with: "{dataset: digits, \(key)}")
      #expect(message(text).contains("is for the \(datasets), not 'digits'"), "\(key)")
    }
    #expect(
      message(RunRecipe.text().replacing("{dataset: digits}", with: "{dataset: digits, teacher_text: {}}"))
        .contains("data.teacher_text is for texts"))
    #expect(
      message(RunRecipe.text(training: "{epochs: 1, on_policy: {}}")).contains("training.on_policy is for texts"))
    #expect(
      message(Self.text(training: "on_policy: {}", terms: "[hard_labels]")).contains(
        "no term asks the teacher about it"))
    let noTeacher = Self.text("teacher_text: {}", terms: "[hard_labels]").replacing(/teacher: \{model.*/, with: "")
    #expect(message(noTeacher).contains("data.teacher_text needs a teacher"))
    let mean = Self.text("teacher_text: {}").replacing(/teacher: \{model.*/, with: "teacher: {mean: {}}")
    #expect(message(mean).contains("this one is made of students"))
    let peers = Self.text(training: "on_policy: {}").replacing(
      /teacher: \{model.*/, with: "teacher: {peers: [{name: other}]}")
    #expect(message(peers).contains("not possible with teacher.peers"))
    #expect(
      message(Self.text(more: "alone: {on_policy: {}}")).contains("there is no teacher to ask about what is written"))
    #expect(
      message(Self.text(teacher: "").replacing("{epochs: 1}", with: "{epochs: 1, on_policy: {}}"))
        .contains("there is no teacher to ask"))
    let stage = "stages: [{name: a, data: {length: 5}}]"
    #expect(message(Self.text(more: stage)).contains("cannot differ from stage to stage"))
    #expect(
      message("data: {dataset: text}\nstudent: {model: {architecture: decoder}}").contains("data.path is missing"))
  }

  @Test("A text that nobody uses the teacher for but to write has a use for it")
  func onlyWriting() throws {
    let recipe = try recipe(Self.text("teacher_text: {}", terms: "[hard_labels]"))
    #expect(!recipe.warnings.contains { "\($0)".contains("no term uses the teacher") })
  }
}
