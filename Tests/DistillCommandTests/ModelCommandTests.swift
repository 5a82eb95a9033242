import Foundation
import Testing

@testable import DistillRecipes

@Suite("evaluate, predict, inspect and explain")
struct ModelCommandTests {
  @Test("evaluate gives what the run had found, and the agreement with the teacher")
  func evaluate() throws {
    let folder = try Sample.folder()
    let outcome = try Command.run(
      ["evaluate", "runs/sample", "--teacher", "runs/sample/teacher", "--json"], in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    let result = try outcome.object()
    let metrics = try MetricsFile(decoding: read("\(folder)/runs/sample/metrics.json"))
    let expected = try #require(metrics.settings.first?.arms.first { $0.name == "distilled" }?.seeds.first?.scores)
    let scores = try #require(result["scores"] as? [String: Any])
    func isNear(_ given: Any?, _ wanted: Double?) throws -> Bool {
      abs(try #require(given as? Double) - #require(wanted)) < 1e-9
    }
    #expect(try isNear(scores["accuracy"], expected.accuracy))
    #expect(try isNear(scores["agreement"], expected.agreement))
    #expect(try isNear(scores["nll"], expected.nll))
    let teacher = try #require(result["teacher_scores"] as? [String: Any])
    #expect(try isNear(teacher["accuracy"], metrics.teacher?.scores.accuracy))
    let confusion = try #require(result["confusion"] as? [[Int]])
    #expect(confusion.flatMap { $0 }.reduce(0, +) == 360)
    #expect((result["classes"] as? [Any])?.count == 10)
  }

  @Test("evaluate prints tables, on the data of the run, another split, or a named data set")
  func evaluateText() throws {
    let folder = try Sample.folder()
    let text = try Command.run(["evaluate", "runs/sample/student"], in: folder)
    #expect(text.code == 0)
    for word in ["accuracy, top 5", "calibration error", "recall", "What each class (row) was taken for"] {
      #expect(text.output.contains(word))
    }
    let validation = try Command.run(["evaluate", "runs/sample", "--split", "validation", "--json"], in: folder)
    #expect(try validation.object()["examples"] as? Int == 144)
    let named = try Command.run(
      ["evaluate", "runs/sample", "--dataset", "digits", "--split", "train", "--json"], in: folder)
    #expect(try named.object()["examples"] as? Int == 1437)
  }

  @Test(
    "evaluate says what does not fit",
    arguments: [
      (["evaluate", "nothere"], "nothere"), (["evaluate", "runs"], "runs"),
      (["evaluate", "recipe.yaml"], "recipe.yaml"),
      (["evaluate", "runs/sample", "--dataset", "nope"], "nope"),
      (["evaluate", "runs/sample", "--dataset", "fashion-mnist", "--path", "nowhere"], "nowhere"),
      (["evaluate", "runs/sample", "--dataset", "digits", "--split", "validation"], "--split"),
      (["evaluate", "runs/sample", "--top", "0"], "--top"), (["evaluate", "runs/sample", "--path", "x"], "--dataset"),
      (["evaluate", "runs/sample", "--teacher", "nobody"], "nobody"),
    ] as [([String], String)])
  func misfit(arguments: [String], word: String) throws {
    let outcome = try Command.run(arguments, in: try Sample.folder())
    #expect(outcome.code == 2)
    #expect(outcome.errors.hasPrefix("error: "))
    #expect(outcome.errors.contains(word))
  }

  /// A PNG file with a test digit, magnified: the model's own input once it is brought to its size.
  private func picture(_ number: Int, of values: [[Int]], channels: Int, times: Int, to path: String) throws {
    let side = values.count * times
    var pixels: [UInt8] = []
    for row in 0..<side {
      for column in 0..<side {
        pixels += Array(repeating: UInt8(values[row / times][column / times]), count: channels)
      }
    }
    let image = ReportData.Picture(width: side, height: side, channels: channels, pixels: Data(pixels))
    try write(try #require(InlinePicture.encoded(image, longestSide: side)), to: path)
  }

  @Test("predict on pictures of any size and colour says what it says of the examples themselves")
  func predict() throws {
    let folder = try Sample.folder()
    let explained = try Command.run(
      ["explain", "runs/sample", "--examples", "3,17,42", "--json"], in: folder
    ).object()
    let examples = try #require(explained["examples"] as? [[String: Any]])
    try withFolder { pictures in
      var files: [String] = []
      for (place, example) in examples.enumerated() {
        let values = try #require(example["picture"] as? [[Int]])
        let path = "\(pictures)/\(place).png"
        try picture(place, of: values, channels: place == 1 ? 3 : 1, times: place + 1, to: path)
        files.append(path)
      }
      let byFile = try Command.run(["predict", "runs/sample", "--json"] + files, in: folder).object()
      let byNumber = try Command.run(["predict", "runs/sample", "--examples", "3,17,42", "--json"], in: folder).object()
      let first = try #require(byFile["items"] as? [[String: Any]])
      let second = try #require(byNumber["items"] as? [[String: Any]])
      #expect(first.count == 3)
      for (one, other) in zip(first, second) {
        let (a, b) = (try #require(one["top"] as? [[String: Any]]), try #require(other["top"] as? [[String: Any]]))
        #expect(a.count == 3)
        #expect(a.first?["name"] as? String == b.first?["name"] as? String)
        let difference = try #require(a.first?["probability"] as? Double) - #require(b.first?["probability"] as? Double)
        #expect(abs(difference) < 0.05)
        #expect(other["label"] is String)
      }
    }
  }

  @Test("A damaged picture is named, the others are still predicted, and the exit code is 2")
  func damaged() throws {
    let folder = try Sample.folder()
    try withFolder { pictures in
      let values = (0..<8).map { row in (0..<8).map { column in row == column ? 255 : 0 } }
      try picture(0, of: values, channels: 1, times: 1, to: "\(pictures)/good.png")
      try write(try read("\(pictures)/good.png").prefix(60), to: "\(pictures)/cut.png")
      try write("no picture", to: "\(pictures)/text.jpg")
      let names = ["good", "cut", "text", "missing"].map { "\(pictures)/\($0).\($0 == "text" ? "jpg" : "png")" }
      let outcome = try Command.run(["predict", "runs/sample"] + names, in: folder)
      #expect(outcome.code == 2)
      #expect(outcome.output.contains("good.png"))
      for name in ["cut.png", "text.jpg", "missing.png"] {
        #expect(outcome.errors.contains(name))
        #expect(!outcome.output.contains(name))
      }
      let json = try Command.run(["predict", "runs/sample", "--json", "--top", "1"] + names, in: folder)
      #expect(json.code == 2)
      let items = try #require(try json.object()["items"] as? [[String: Any]])
      #expect(items.map { $0["problem"] == nil } == [true, false, false, false])
      #expect((items[0]["top"] as? [Any])?.count == 1)
    }
  }

  @Test(
    "predict says what it cannot do",
    arguments: [
      (["predict", "runs/sample"], "--examples"), (["predict", "runs/sample", "--examples", "1,x"], "'x'"),
      (["predict", "runs/sample", "--examples", "360"], "360"),
      (["predict", "runs/sample", "a.png", "--examples", "1"], "not both"),
      (["predict", "runs/sample", "--examples", "1", "--top", "0"], "--top"),
    ] as [([String], String)])
  func impossible(arguments: [String], word: String) throws {
    let outcome = try Command.run(arguments, in: try Sample.folder())
    #expect(outcome.code == 2)
    #expect(outcome.errors.contains(word))
  }

  @Test("inspect: a model's layers, a recipe's models, a file's tensors, a run's trainings")
  func inspect() throws {
    let folder = try Sample.folder()
    let models = try #require(
      try Command.run(["inspect", "runs/sample/student", "--json"], in: folder).object()["models"] as? [[String: Any]])
    let summary = try #require(models.first?["summary"] as? [String: Any])
    // 64 · 8 + 8 + 8 · 10 + 10
    #expect(summary["parameters"] as? Int == 610)
    #expect(summary["multiply_adds"] as? Int == 592)

    let recipe = try Command.run(["inspect", "recipe.yaml"], in: folder)
    #expect(recipe.output.contains("teacher: mlp"))
    #expect(recipe.output.contains("student: mlp"))
    #expect(recipe.output.contains("hidden.0.linear"))

    let file = try Command.run(["inspect", "runs/sample/student/model.safetensors", "--json"], in: folder).object()
    let tensors = try #require((file["file"] as? [String: Any])?["tensors"] as? [[String: Any]])
    #expect(tensors.count == 4)
    #expect(tensors.contains { $0["name"] as? String == "output.weight" && $0["shape"] as? [Int] == [10, 8] })

    let run = try #require(
      try Command.run(["inspect", "runs/sample", "--json"], in: folder).object()["run"] as? [String: Any])
    #expect(run["is_complete"] as? Bool == true)
    #expect(run["is_in_use"] as? Bool == false)
    let trainings = try #require(run["trainings"] as? [[String: Any]])
    #expect(trainings.count == 5)
    #expect(trainings.allSatisfy { $0["state"] as? String == "done" && $0["accuracy"] is Double })
    #expect(try Command.run(["inspect", "runs/sample"], in: folder).output.contains("5 of 5 trainings are done"))
  }

  @Test("inspect says what it cannot read", arguments: ["nothere", "runs", "runs/sample/metrics.json"])
  func uninspectable(path: String) throws {
    let outcome = try Command.run(["inspect", path], in: try Sample.folder())
    #expect(outcome.code == 2)
    #expect(outcome.errors.contains(path))
  }

  @Test("explain: the higher the temperature, the flatter; the student beside it; classes that are alike")
  func explain() throws {
    let folder = try Sample.folder()
    let result = try Command.run(
      ["explain", "runs/sample", "--examples", "3", "--temperatures", "1,4", "--json"], in: folder
    ).object()
    let example = try #require((result["examples"] as? [[String: Any]])?.first)
    #expect(example["number"] as? Int == 3)
    let opinions = try #require(example["opinions"] as? [[String: Any]])
    #expect(opinions.map { $0["model"] as? String } == ["teacher", "teacher", "student"])
    let top = try opinions.map { opinion in
      try #require((opinion["shares"] as? [[String: Any]])?.first?["probability"] as? Double)
    }
    #expect(top[0] > top[1])
    #expect((example["picture"] as? [[Int]])?.count == 8)
    let similarities = try #require(result["similarities"] as? [[String: Any]])
    #expect(similarities.map { $0["temperature"] as? Double } == [1, 4])
    let classes = try #require(similarities[1]["classes"] as? [[String: Any]])
    #expect(classes.count == 10)
    for kin in classes {
      let nearest = try #require(kin["nearest"] as? [[String: Any]]).compactMap { $0["name"] as? String }
      #expect(nearest.count == 3)
      #expect(!nearest.contains(try #require(kin["name"] as? String)))
    }
  }

  @Test("explain chooses examples, of a class if asked, and works from the recipe too")
  func explainChoice() throws {
    let folder = try Sample.folder()
    let result = try Command.run(
      ["explain", "recipe.yaml", "--class", "8", "--count", "2", "--json"], in: folder
    ).object()
    let examples = try #require(result["examples"] as? [[String: Any]])
    #expect(examples.count == 2)
    #expect(examples.allSatisfy { $0["label"] as? String == "8" })
    let text = try Command.run(["explain", "runs/sample"], in: folder)
    #expect(text.code == 0)
    #expect(text.output.contains("teacher, T = 8"))
    #expect(text.output.contains("What the teacher finds alike"))
    // It is piped to this test, and so in plain characters.
    #expect(text.output.contains("###"))
    #expect(!text.output.contains("█"))
  }

  @Test(
    "explain says what it cannot show",
    arguments: [
      (["explain", "nothere"], "nothere"), (["explain", "runs"], "runs"),
      (["explain", "runs/sample", "--examples", "9999"], "9999"),
      (["explain", "runs/sample", "--class", "cat"], "cat"),
      (["explain", "runs/sample", "--temperatures", "0"], "--temperatures"),
      (["explain", "runs/sample", "--temperatures", "hot"], "hot"),
    ] as [([String], String)])
  func unexplainable(arguments: [String], word: String) throws {
    let outcome = try Command.run(arguments, in: try Sample.folder())
    #expect(outcome.code == 2)
    #expect(outcome.errors.contains(word))
  }

  @Test("explain --class: soft targets at T = 1, 4 and 20, nearest classes, what was learned, typical and odd examples")
  func explainClass() throws {
    let folder = try Sample.folder()
    try withFolder { place in
      let page = "\(place)/eight.html"
      let result = try Command.run(
        ["explain", "runs/sample", "--class", "8", "--html", page, "--json"], in: folder
      ).object()
      let lesson = try #require(result["lesson"] as? [String: Any])
      #expect(lesson["name"] as? String == "8")
      let count = try #require(lesson["count"] as? Int)
      #expect(count > 10)
      #expect(lesson["temperatures"] as? [Double] == [1, 4, 20] && lesson["middle_temperature"] as? Double == 4)

      let targets = try #require(lesson["soft_targets"] as? [[String: Any]])
      #expect(targets.count == 9)
      func top(_ model: String, _ temperature: Double) throws -> [String: Any] {
        let target = try #require(
          targets.first { $0["model"] as? String == model && $0["temperature"] as? Double == temperature })
        let shares = try #require(target["shares"] as? [[String: Any]])
        let sum = shares.compactMap { $0["probability"] as? Double }.reduce(0, +)
        let rest = try #require(target["rest"] as? Double)
        #expect(abs(sum + rest - 1) < 1e-9)
        return try #require(shares.first)
      }
      let tops = try [1.0, 4, 20].map { try #require(top("teacher", $0)["probability"] as? Double) }
      #expect(tops[0] > tops[1] && tops[1] > tops[2])
      #expect(try top("teacher", 1)["name"] as? String == "8")
      _ = try top("alone", 20)

      let models = try #require(lesson["models"] as? [[String: Any]])
      #expect(models.map { $0["name"] as? String } == ["teacher", "student", "alone"])
      #expect(models[0]["agreement"] == nil)
      func divergence(_ model: Int, _ key: String) throws -> Double {
        let all = try #require(models[model]["divergences"] as? [[String: Any]])
        return try #require(all.first { $0["temperature"] as? Double == 4 }?[key] as? Double)
      }
      #expect(try divergence(1, "of_class") > 0)
      #expect(
        try divergence(1, "of_all") < divergence(2, "of_all"), "the student alone was taught nothing by the teacher")
      for model in models {
        let recall = try #require(model["recall"] as? Double)
        let mistakes = try #require(model["mistakes"] as? [[String: Any]]).compactMap { $0["probability"] as? Double }
        #expect(recall + mistakes.reduce(0, +) <= 1 + 1e-9)
        #expect(abs(recall * Double(count) - (recall * Double(count)).rounded()) < 1e-6)
      }

      let examples = try #require(result["examples"] as? [[String: Any]])
      #expect(examples.map { $0["kind"] as? String } == ["typical", "typical", "odd", "odd"])
      let distances = try examples.map { try #require($0["distance"] as? Double) }
      #expect(distances[0] <= distances[1] && distances[1] < distances[3] && distances[3] <= distances[2])
      #expect(Set(examples.compactMap { $0["number"] as? Int }).count == 4)
      for example in examples {
        #expect(example["label"] as? String == "8")
        #expect((example["opinions"] as? [[String: Any]])?.count == 9)
        #expect((example["picture"] as? [[Int]])?.count == 8)
      }

      let html = String(decoding: try read(page), as: UTF8.self)
      for id in ["verdict", "soft-targets", "neighbours", "learned", "typical", "odd", "alike", "words"] {
        #expect(html.contains("id=\"\(id)\""), "\(id)")
      }
      #expect(html.components(separatedBy: "<img src=\"data:image/png;base64,").count == 5)
    }
  }

  @Test("explain --class in the terminal, also without the student alone, and at other temperatures")
  func explainClassText() throws {
    let folder = try Sample.folder()
    let text = try Command.run(["explain", "runs/sample", "--class", "8", "--count", "3"], in: folder)
    #expect(text.code == 0, "\(text.errors)")
    for words in [
      "To the teacher the class 8 is most like", "Mean soft targets of the", "T = 20", "What was learned of it",
      "KL, T = 4", ": 8, typical", ": 8, odd", "###",
    ] {
      #expect(text.output.contains(words), "\(words)")
    }
    #expect(text.output.components(separatedBy: ", typical").count == 3)
    let own = try Command.run(
      ["explain", "runs/sample", "--class", "8", "--temperatures", "2", "--examples", "3", "--json"], in: folder
    ).object()
    #expect((own["lesson"] as? [String: Any])?["temperatures"] as? [Double] == [2])
    let examples = try #require(own["examples"] as? [[String: Any]])
    #expect(examples.map { $0["number"] as? Int } == [3] && examples[0]["kind"] == nil)
    let refused = try Command.run(["explain", "runs/sample", "--html", "no/such/folder/a.html"], in: folder)
    #expect(refused.code == 2 && refused.errors.contains("there is no folder"), "\(refused.errors)")
  }

  @Test("explain writes its page without a class too")
  func explainPage() throws {
    try withFolder { place in
      let outcome = try Command.run(
        ["explain", "runs/sample", "--html", "\(place)/all.html"], in: try Sample.folder())
      #expect(outcome.code == 0, "\(outcome.errors)")
      let html = String(decoding: try read("\(place)/all.html"), as: UTF8.self)
      #expect(html.contains("id=\"examples\"") && !html.contains("id=\"learned\""))
    }
  }
}
