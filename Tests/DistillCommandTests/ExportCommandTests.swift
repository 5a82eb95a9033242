import Foundation
import TestSupport
import Testing

@Suite("export")
struct ExportCommandTests {
  @Test("export writes the student of a run, and says that it was not verified where nothing can")
  func unverified() throws {
    let folder = try Sample.folder()
    let outcome = try Command.run(
      ["export", "runs/sample", "-o", "unverified.onnx", "--python", "no-such-python"], in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    for word in ["unverified.onnx", "input: float32, batch", "logits: float32, batch", "It was not verified"] {
      #expect(outcome.output.contains(word), "\(word) in \(outcome.output)")
    }
    // What is there already is not replaced by accident.
    let again = try Command.run(["export", "runs/sample", "-o", "unverified.onnx"], in: folder)
    #expect(again.code == 2 && again.errors.contains("--force"))
    let forced = try Command.run(
      ["export", "runs/sample", "-o", "unverified.onnx", "--force", "--no-verify", "--json"], in: folder)
    #expect(forced.code == 0, "\(forced.everything)")
    let result = try forced.object()
    #expect(result["operator_set"] as? Int == 23 && result["unverified"] as? String == "it was not asked for")
    let file = try #require((result["files"] as? [[String: Any]])?.first)
    let size = try FileManager.default.attributesOfItem(atPath: "\(folder)/unverified.onnx")[.size] as? Int
    #expect(file["bytes"] as? Int == size && (size ?? 0) > 1000)
  }

  @Test("export --quantize calibrates with the run's own data, never with its test split")
  func quantized() throws {
    let folder = try Sample.folder()
    let outcome = try Command.run(
      [
        "export", "runs/sample/teacher", "-o", "small.onnx", "--quantize", "int8", "--calibration-examples", "100",
        "--no-verify", "--json",
      ], in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    let result = try #require(try outcome.object()["quantization"] as? [String: Any])
    #expect(result["weights"] as? String == "int8" && result["calibration_examples"] as? Int == 100)
    #expect((result["calibration"] as? String)?.contains("training split of digits") == true)
    #expect((result["verified_on"] as? String)?.contains("validation split of digits") == true)
    #expect(result["calibration_method"] as? String == "min-max" && result["reduced_range"] as? Bool == false)
    let quantized = try #require(result["quantized"] as? [String: Any])
    // 64 pixels, 64 hidden units, 10 classes.
    #expect(quantized["products"] as? Int == 2 && quantized["weights"] as? Int == 64 * 64 + 64 * 10)
    let sizes = ["bytes", "bytes_in_float"].compactMap { result[$0] as? Int }
    #expect(sizes.count == 2 && sizes[0] * 3 < sizes[1])
  }

  @Test(
    "export --quantize compares the file with float32 in ONNX Runtime, wherever its examples are from",
    .enabled(if: PythonEnvironment.onnx.path != nil, PythonEnvironment.onnx.missing),
    arguments: [
      [], ["--calibrate", "digits"], ["--calibrate", "recipe.yaml", "--with-preprocessing"],
      ["--calibrate", "runs/sample", "--calibration-method", "mse", "--external-weights", "--reduce-range"],
    ])
  func quantizedAndVerified(options: [String]) throws {
    let folder = try Sample.folder()
    let python = try #require(PythonEnvironment.onnx.path)
    let name = "int8-\(options.count)-\(options.last ?? "").onnx"
    let outcome = try Command.run(
      ["export", "runs/sample/teacher", "-o", name, "--quantize", "int8", "--python", python, "--json"] + options,
      in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    let result = try #require(try outcome.object()["quantization"] as? [String: Any])
    let check = try #require(result["verification"] as? [String: Any])
    #expect((check["checker"] as? String)?.hasPrefix("onnx") == true)
    let numbers = ["agreement", "accuracy", "accuracy_in_float", "similarity"].compactMap { check[$0] as? Double }
    #expect(numbers.count == 4 && numbers.allSatisfy { $0 > 0.85 && $0 <= 1.000001 }, "\(check)")
    #expect(numbers[0] >= 0.98, "\(check)")
    let examples = try #require(check["examples"] as? Int)
    #expect(examples > 50)
    let batches = try #require(check["batches"] as? [[String: Any]])
    #expect(batches.map { $0["examples"] as? Int } == [1, 32])
    #expect(batches.allSatisfy { ($0["seconds"] as? Double ?? 0) > 0 && ($0["seconds_in_float"] as? Double ?? 0) > 0 })
  }

  @Test(
    "export --quantize calibrates with a folder of pictures",
    .enabled(if: PythonEnvironment.onnx.path != nil, PythonEnvironment.onnx.missing))
  func quantizedWithPictures() throws {
    let folder = try Sample.folder()
    let python = try #require(PythonEnvironment.onnx.path)
    try FileManager.default.createDirectory(atPath: "\(folder)/plain", withIntermediateDirectories: true)
    if !FileManager.default.fileExists(atPath: "\(folder)/plain/student") {
      try FileManager.default.copyItem(
        atPath: "\(folder)/runs/sample/teacher", toPath: "\(folder)/plain/student")
    }
    let pictures = "\(fixtureFolder)/pictures"
    let outcome = try Command.run(
      [
        "export", "plain/student", "-o", "pictures.onnx", "--force", "--quantize", "int8", "--calibrate", pictures,
        "--python", python,
      ], in: folder)
    #expect([0, 1].contains(outcome.code), "\(outcome.everything)")
    for word in ["the pictures in", "same answer as float32", "in int8"] {
      #expect(outcome.output.contains(word), "\(outcome.everything)")
    }
    // Nobody says what such a model was trained on.
    let unsaid = try Command.run(
      ["export", "plain/student", "-o", "unsaid.onnx", "--quantize", "int8"], in: folder)
    #expect(unsaid.code == 2 && unsaid.errors.contains("--calibrate"), "\(unsaid.everything)")
  }

  @Test(
    "export compares what it wrote with ONNX Runtime",
    .enabled(if: PythonEnvironment.onnx.path != nil, PythonEnvironment.onnx.missing),
    arguments: [[], ["--with-preprocessing"], ["--with-preprocessing", "--resize", "--layout", "nchw"]])
  func verified(options: [String]) throws {
    let folder = try Sample.folder()
    let python = try #require(PythonEnvironment.onnx.path)
    let name = "verified\(options.count).onnx"
    let outcome = try Command.run(
      ["export", "runs/sample/teacher", "-o", name, "--python", python, "--json"] + options, in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    let check = try #require(try outcome.object()["verification"] as? [String: Any])
    #expect((check["runtime"] as? String)?.hasPrefix("ONNX Runtime") == true)
    #expect((check["checker"] as? String)?.hasPrefix("onnx") == true)
    let batches = try #require(check["batches"] as? [[String: Any]])
    #expect(batches.map { $0["examples"] as? Int } == [1, 7])
    #expect(batches.allSatisfy { ($0["difference"] as? Double ?? 1) < 1e-4 })
  }

  @Test(
    "export writes a package for Core ML, and lets coremltools read and compute it",
    .enabled(if: PythonEnvironment.coreML.path != nil, PythonEnvironment.coreML.missing),
    arguments: [[], ["--arrays", "--output-name", "scores"], ["--half"]])
  func coreML(options: [String]) throws {
    let folder = try Sample.folder()
    let python = try #require(PythonEnvironment.coreML.path)
    let name = "verified\(options.count).mlpackage"
    let arguments =
      ["export", "runs/sample", "--format", "core-ml", "-o", name, "--python", python] + options
    let outcome = try Command.run(arguments + ["--json"], in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    let result = try outcome.object()
    let check = try #require(result["verification"] as? [String: Any])
    #expect((check["runtime"] as? String)?.hasPrefix("coremltools") == true)
    let batches = try #require(check["batches"] as? [[String: Any]])
    #expect(batches.count == 2 && batches.allSatisfy { $0["seconds_there"] == nil })
    #expect(batches.allSatisfy { ($0["difference"] as? Double ?? 1) < (options == ["--half"] ? 0.1 : 1e-4) })
    let isArray = options.contains("--arrays")
    #expect(
      result["input"] as? String == (isArray ? "input: float32, 1 × 1 × 8 × 8" : "image: picture, 8 × 8, grey"))
    #expect((result["output"] as? String)?.hasPrefix(isArray ? "scores: float32, 1 × 10" : "classLabel") == true)
    for file in ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"] {
      #expect(FileManager.default.fileExists(atPath: "\(folder)/\(name)/\(file)"))
    }
    let again = try Command.run(arguments, in: folder)
    #expect(again.code == 2 && again.errors.contains("--force"))
    let forced = try Command.run(arguments + ["--force"], in: folder)
    #expect(forced.code == 0 && forced.output.contains("differs by"), "\(forced.everything)")
  }

  @Test("export writes a folder for Python, which the other commands read too")
  func folderForPython() throws {
    let folder = try Sample.folder()
    let outcome = try Command.run(
      ["export", "runs/sample", "--format", "hugging-face", "-o", "out/student", "--no-verify", "--json"], in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    let files = try #require(try outcome.object()["files"] as? [[String: Any]]).compactMap { $0["path"] as? String }
    #expect(
      files
        == ["model.safetensors", "config.json", "README.md", "preprocessor_config.json", "model.py"].map {
          "out/student/\($0)"
        })
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/out/student/config.json"))
    let configuration = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect((configuration["id2label"] as? [String: String])?["3"] == "3")
    #expect((configuration["label2id"] as? [String: Int])?["3"] == 3)
    let card = try String(contentsOfFile: "\(folder)/out/student/README.md", encoding: .utf8)
    for word in ["| accuracy |", "model.py", "Model.load()", "[N, 1, 8, 8]"] { #expect(card.contains(word), "\(word)") }
    // The same scores, to the last digit.
    let scores = try ["runs/sample", "out/student"].map { model in
      let evaluated = try Command.run(["evaluate", model, "--dataset", "digits", "--json"], in: folder)
      return try #require(try evaluated.object()["scores"] as? [String: Any])["nll"] as? Double
    }
    #expect(scores[0] != nil && scores[0] == scores[1])
    let again = try Command.run(
      ["export", "runs/sample", "--format", "hugging-face", "-o", "out/student"], in: folder)
    #expect(again.code == 2 && again.errors.contains("--force"))
  }

  @Test(
    "export says what does not fit",
    arguments: [
      (["export", "nothere", "-o", "x.onnx"], "nothere"), (["export", "runs/sample"], "--output"),
      (["export", "runs/sample", "-o", "no/folder/x.onnx"], "no/folder"),
      (["export", "runs/sample", "-o", "x.onnx", "--resize"], "--with-preprocessing"),
      (["export", "runs/sample", "-o", "x.onnx", "--layout", "nchw"], "--with-preprocessing"),
      (["export", "runs/sample", "-o", "x.onnx", "--layout", "hwc"], "nchw"),
      (["export", "runs/sample", "-o", "x.onnx", "--input-name", "logits"], "two different"),
      (["export", "runs/sample", "-o", "x.onnx", "--format", "hugging-face", "--no-fold"], "--no-fold"),
      (["export", "runs/sample", "-o", "recipe.yaml", "--format", "hugging-face", "--force"], "recipe.yaml"),
      (["export", "runs/sample", "-o", "x.onnx", "--format", "coreml"], "hugging-face"),
      (["export", "runs/sample", "-o", "x.onnx", "--format", "core-ml"], ".mlpackage"),
      (["export", "runs/sample", "-o", "x.onnx", "--half"], "core-ml"),
      (["export", "runs/sample", "-o", "x.onnx", "--quantize", "int4"], "int8"),
      (["export", "runs/sample", "-o", "x.onnx", "--calibrate", "digits"], "--quantize"),
      (["export", "runs/sample", "-o", "x.onnx", "--calibration-examples", "10"], "--quantize"),
      (["export", "runs/sample", "-o", "x.mlpackage", "--format", "core-ml", "--quantize", "int8"], "onnx"),
      (["export", "runs/sample", "-o", "x", "--format", "hugging-face", "--quantize", "int8"], "onnx"),
      (["export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--calibrate", "nothere"], "nothere"),
      (["export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--path", "runs"], "--calibrate"),
      (
        ["export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--calibrate", "recipe.yaml", "--path", "x"],
        "--path"
      ),
      (["export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--calibrate", "jobs"], "jobs"),
      (["export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--calibrate", "runs"], "no pictures"),
      (
        ["export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--calibrate", "runs/sample/metrics.json"],
        "reads no texts"
      ),
      (["export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--calibration-examples", "-1"], "from 1"),
      (
        [
          "export", "runs/sample", "-o", "x.onnx", "--quantize", "int8", "--calibrate", "fashion-mnist", "--path", "no",
        ],
        "no"
      ),
      (["export", "runs/sample", "-o", "x.mlpackage", "--format", "core-ml", "--resize"], "--resize"),
      (["export", "runs/sample", "-o", "x.mlpackage", "--format", "core-ml", "--output-name", "y"], "--arrays"),
      (
        ["export", "runs/sample", "-o", "runs/sample/student", "--format", "hugging-face", "--force"],
        "is the model itself"
      ),
      (["export", "runs/sample", "-o", "runs/sample/student/model.safetensors", "--force"], "is the model itself"),
    ] as [([String], String)])
  func misfit(arguments: [String], word: String) throws {
    let outcome = try Command.run(arguments, in: try Sample.folder())
    #expect(outcome.code == 2, "\(outcome.everything)")
    #expect(outcome.errors.hasPrefix("error: ") && outcome.errors.contains(word), "\(outcome.errors)")
    #expect(!FileManager.default.fileExists(atPath: "\(try Sample.folder())/x.onnx"))
  }

  @Test("A file that hits the limit of sizes is said to, and leaves nothing behind")
  func limitOfSizes() throws {
    try withFolder { folder in
      let input = "\(fixtureFolder)/torch/teacher.pth"
      let outcome = try Command.run(
        ["convert", input, "-o", "model.safetensors"], in: folder,
        through: ["/bin/bash", "-c", "ulimit -f 2; exec \"$@\"", "bash"])
      #expect(outcome.code == 1 || outcome.code == 2, "\(outcome.everything)")
      #expect(outcome.errors.contains("ulimit -f"), "\(outcome.everything)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
    }
  }

  @Test(
    "A place where no file can be is said with a better one",
    arguments: [(".", "such as ./student.onnx"), ("/proc/x.onnx", "no files can be made in the folder /proc")])
  func impossiblePlace(_ place: String, _ words: String) throws {
    #if os(Linux)
    let outcome = try Command.run(["export", "runs/sample", "-o", place, "--no-verify"], in: try Sample.folder())
    #expect(outcome.code == 2, "\(outcome.everything)")
    #expect(outcome.errors.contains(words), "\(outcome.everything)")
    #endif
  }
}
