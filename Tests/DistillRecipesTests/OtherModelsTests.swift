import DistillData
import DistillModels
import DistillRuntime
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

/// Folders of other libraries, where a recipe or a command names a model.
@Suite struct OtherModelsTests {
  /// Writes a tiny ViT as `transformers` would, with random weights.
  static func writeViT(
    to folder: String, classes: Int, channels: Int = 1, more: String = "", prepared: String? = nil
  ) throws {
    let names = (0..<classes).map { "\"\($0)\": \"\($0)\"" }.joined(separator: ", ")
    try RunRecipe.write(
      """
      {"architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_act": "gelu", "hidden_size": 8,
       "image_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, \(more)
       "num_channels": \(channels), "patch_size": 4, "id2label": {\(names)}, "qkv_bias": true}
      """, to: "\(folder)/config.json")
    if let prepared { try RunRecipe.write(prepared, to: "\(folder)/preprocessor_config.json") }
    let model = try withRandomStream(RandomStream(seed: 7, name: "vit")) {
      try ModelZoo.make(ForeignModel(folder: folder).specification)
    }
    let table = try #require((model as? any KnownElsewhere)?.keyTables.first { $0.name == "Hugging Face's ViT" })
    try Checkpoint.write(
      table.foreign(model.state.map { NamedTensor(name: $0.name, tensor: try $0.tensor.detached()) }),
      metadata: ["format": "pt"], to: "\(folder)/model.safetensors")
  }

  @Test func aFolderIsOpenedAsAModelFolder() throws {
    try RunRecipe.withFolder { folder in
      try Self.writeViT(
        to: folder, classes: 4,
        prepared: #"{"size": {"height": 8, "width": 8}, "image_mean": [0.5], "image_std": [0.25], "resample": 3}"#)
      let (model, description) = try ModelFolder(folder).load()
      #expect(description.model.architecture == "vit" && description.model.inputShape == [1, 8, 8])
      #expect(description.labels == ["0", "1", "2", "3"])
      #expect(description.normalization == Normalization(mean: [0.5], standardDeviation: [0.25]))
      #expect(description.pictureFit?.interpolation == .bicubic)
      #expect(try withoutGradient { try model(Tensor.zeros([2, 1, 8, 8])) }.shape == [2, 4])
      let inspection = try Inspection(folder).models[0]
      #expect(inspection.origin == "ViTForImageClassification of transformers")
      #expect(inspection.notices == [])
    }
  }

  @Test func weightsInSeveralFilesAreFoundByTheirIndex() throws {
    try RunRecipe.withFolder { folder in
      try Self.writeViT(to: folder, classes: 4)
      let (whole, files) = ("\(folder)/model.safetensors", FileManager.default)
      let tensors = try Checkpoint.read(whole).tensors
      let expected = try ModelFolder(folder).load().model.state.map { try $0.tensor.doubles() }
      var places: [String: String] = [:]
      for (number, part) in [tensors.prefix(5), tensors.dropFirst(5)].enumerated() {
        let name = "model-0000\(number + 1)-of-00002.safetensors"
        try Checkpoint.write(Array(part), to: "\(folder)/\(name)")
        for named in part { places[named.name] = name }
      }
      try files.removeItem(atPath: whole)
      let index = try JSONEncoder().encode(["weight_map": places])
      try index.write(to: URL(filePath: "\(folder)/model.safetensors.index.json"))
      #expect(try ModelFolder(folder).load().model.state.map { try $0.tensor.doubles() } == expected)
      #expect(try ModelSource(folder).specification?.classCount == 4)
    }
  }

  @Test func whatIsNotKnownIsAnErrorOfTheUser() throws {
    try RunRecipe.withFolder { folder in
      try Self.writeViT(to: folder, classes: 4)
      let text = try String(contentsOfFile: "\(folder)/config.json", encoding: .utf8)
      try RunRecipe.write(text.replacingOccurrences(of: "\"gelu\"", with: "\"mish\""), to: "\(folder)/config.json")
      let error = #expect(throws: ModelFolderError.self) { try ModelFolder(folder).description() }
      #expect(error?.description.contains("hidden_act is 'mish', which is not known here; accepted are gelu") == true)
    }
  }

  /// A teacher from a folder, and a student that begins with another one, whose head is for other classes.
  @Test func aRunTakesTeacherAndStudentFromFolders() throws {
    try RunRecipe.withFolder { folder in
      try Self.writeViT(to: "\(folder)/teacher", classes: 10)
      try Self.writeViT(to: "\(folder)/student", classes: 3)
      let configuration = try Configuration.parse(
        text: """
          name: others
          seeds: [1]
          threads: 1
          data: {dataset: digits}
          teacher: {weights: \(folder)/teacher}
          student: {weights: \(folder)/student}
          terms: [{soft_targets: {temperature: 2}}, {hidden_states: {layers: [{student: blocks.0, teacher: blocks.1}]}}]
          training: {steps: 3, batch_size: 32}
          """)
      _ = try RunRecipe.run(configuration, in: "\(folder)/run")
      let (student, description) = try ModelFolder("\(folder)/run/student").load()
      #expect(description.model.architecture == "vit" && description.model.classCount == 10)
      #expect(!ModelFolder("\(folder)/run/student").isForeign)
      #expect(try withoutGradient { try student(Tensor.zeros([1, 1, 8, 8])) }.shape == [1, 10])
      // All but the head began where the folder says, and three steps lead not far away.
      let begin = try Checkpoint.read("\(folder)/student/model.safetensors")
      let places = try #require(begin["vit.embeddings.position_embeddings"])
      let trained = try #require(student.state.first { $0.name == "pos_embed" }).tensor
      let distance = try withoutGradient { try (places - trained).norm().item() / places.norm().item() }
      #expect(distance < 0.5)
    }
  }

  @Test func aTeacherOfOtherClassesIsStillRefused() throws {
    try RunRecipe.withFolder { folder in
      try Self.writeViT(to: "\(folder)/teacher", classes: 3)
      let configuration = try Configuration.parse(
        text: RunRecipe.text().replacingOccurrences(
          of: "teacher:\n  model: {architecture: mlp, hidden: [8]}\n  training: {epochs: 1, batch_size: 128}",
          with: "teacher: {weights: \(folder)/teacher}"))
      let error = #expect(throws: RunError.self) { try RunRecipe.run(configuration, in: "\(folder)/run") }
      #expect(error?.description.contains("knows 3 classes, but the data has 10") == true)
    }
  }

  @Test func recipesSayHowPicturesAreBroughtToTheirSize() throws {
    func recipe(_ keys: String) throws -> Configuration {
      try Configuration.parse(
        text: """
          name: photos
          data: {dataset: folder, path: photos, \(keys)}
          teacher: {weights: theirs}
          student: {model: {architecture: mobilenet-v3}}
          terms: [{soft_targets: {temperature: 2}}]
          training: {epochs: 1}
          """)
    }
    #expect(try recipe("image_size: 224").data.fit == nil)
    #expect(try recipe("image_size: 224, interpolation: area").data.fit == nil)
    let cut = try recipe("image_size: 224, shorter_side: 256, interpolation: bicubic")
    #expect(cut.data.fit == PictureFit(shorterSide: 256, interpolation: .bicubic))
    #expect(try Configuration.parse(text: cut.yaml).data == cut.data)
    func problem(_ keys: String) -> String {
      do { _ = try recipe(keys) } catch { return "\(error)" }
      return ""
    }
    #expect(problem("image_size: 224, shorter_side: 256").contains("data.shorter_side needs data.interpolation"))
    #expect(problem("interpolation: bicubic").contains("data.interpolation is of no use without data.image_size"))
    #expect(problem("image_size: 8, interpolation: cubic").contains("area, bilinear or bicubic"))
    let other = "data={dataset: digits, interpolation: bicubic, image_size: 8}"
    #expect(throws: RecipeError.self) { try RunRecipe.configuration(overrides: [other]) }
  }

  /// A reader of texts takes texts of any length up to its own.
  @Test func textsMayBeAsLongAsThoseOfTheData() {
    let specification = ModelSpecification("bert", ["length": 64], inputShape: [32], classCount: 2)
    #expect(specification.fitted(to: [48]).inputShape == [48])
    #expect(specification.fitted(to: [65]).inputShape == [32])
    #expect(specification.fitted(to: [1, 8, 8]).inputShape == [32])
  }
}
