import DistillData
import DistillModels
import DistillRuntime
import Foundation
import Torch
import TorchNN

/// A model folder as the tools of Hugging Face expect it: `config.json` with their words beside ours, the weights, what is
/// done to pictures, a model card with the measured results, and a Python module that loads it.
public struct HuggingFaceFolder {
  public let path: String

  public init(_ path: String) { self.path = path }

  private static let names =
    [
      "model.safetensors", "config.json", "README.md", "preprocessor_config.json", "model.py", "constants.safetensors",
    ] + TheirModel.fileNames

  /// - Throws: `RunError` when something else stands there, or the folder has such files already.
  public func check(force: Bool) throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return }
    guard isFolder.boolValue else { throw RunError("\(path) is a file: name a folder") }
    let there = Self.names.filter { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
    guard force || there.isEmpty else {
      throw RunError(
        "\(path) has \(there.joined(separator: ", ")) already: name another folder, or replace them with --force")
    }
  }

  /// Writes the folder. Each file is replaced as a whole; one of these names that this model does not need is removed.
  ///
  /// - Parameters:
  ///   - python: the text of `model.py`
  ///   - constants: the numbers that it needs and no checkpoint has
  /// - Returns: the names of the files
  public func write(_ source: ExportSource, python: String, constants: [NamedTensor]) throws -> [String] {
    try Folder.make(path)
    let theirs = TheirModel(source)
    let stored = try source.model.state.map {
      NamedTensor(name: $0.name, tensor: try $0.tensor.detached().contiguous())
    }
    try Checkpoint.write(
      theirs?.keys?.foreign(stored) ?? stored, metadata: ["format": "pt"], to: "\(path)/model.safetensors")
    var files: [String: Data] = [
      "config.json": try Self.json(Self.configuration(of: source, theirs)),
      "model.py": Data(python.utf8),
      "README.md": Data(Self.card(of: source, theirs).utf8),
    ]
    if let preprocessing = Self.preprocessing(of: source) {
      files["preprocessor_config.json"] = try Self.json(preprocessing)
    }
    if !constants.isEmpty {
      try Checkpoint.write(constants, metadata: ["format": "pt"], to: "\(path)/constants.safetensors")
    }
    for (name, object) in theirs?.files ?? [:] { files[name] = try Self.json(object) }
    for folder in Set(files.keys.map(FilePath.folder)) where folder != "." { try Folder.make("\(path)/\(folder)") }
    for (name, data) in files { try AtomicFile.write(data, to: "\(path)/\(name)") }
    let made = Set(files.keys).union(["model.safetensors"]).union(constants.isEmpty ? [] : ["constants.safetensors"])
    for name in Self.names where !made.contains(name) { unlink("\(path)/\(name)") }
    // A model of texts keeps its tokenizer.
    let model = ModelFolder(source.path)
    try ModelFolder(path).copyTokenizer(from: model)
    return Self.names.filter(made.contains) + model.tokenizerFiles
  }

  /// How the checkpoint of the folder spells its keys; nil: as we do.
  public static func keys(of source: ExportSource) -> KeyTable? { TheirModel(source)?.keys }

  private static func json(_ object: Any) throws -> Data {
    var data = try JSONSerialization.data(
      withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
    data.append(contentsOf: Array("\n".utf8))
    return data
  }

  // MARK: What is in the files

  /// What we say, which any of our commands reads again, and what their libraries ask for.
  private static func configuration(of source: ExportSource, _ theirs: TheirModel?) throws -> [String: Any] {
    let description = source.description
    let own = try JSONSerialization.jsonObject(with: ResultJSON.pretty(description)) as? [String: Any]
    var result = own ?? [:]
    result["library_name"] = "distill"
    result["id2label"] = Dictionary(
      description.labels.enumerated().map { ("\($0.offset)", $0.element) }
    ) { first, _ in first }
    result["label2id"] = Dictionary(description.labels.enumerated().map { ($0.element, $0.offset) }) { first, _ in first
    }
    return result.merging(theirs?.configuration ?? [:]) { $1 }
  }

  /// For their image processors; nil where the inputs are no pictures.
  static func preprocessing(of source: ExportSource) -> [String: Any]? {
    guard source.isForPictures else { return nil }
    let shape = source.description.model.inputShape
    var result: [String: Any] = [
      "image_processor_type": "ViTImageProcessor", "do_resize": true,
      "size": ["height": shape[1], "width": shape[2]], "resample": 2, "do_rescale": true, "rescale_factor": 1.0 / 255,
      "do_normalize": false,
    ]
    if let normalization = source.description.normalization {
      result["do_normalize"] = true
      result["image_mean"] = spread(normalization.mean, over: shape[0])
      result["image_std"] = spread(normalization.standardDeviation, over: shape[0])
    }
    if let fit = source.description.pictureFit {
      result["resample"] = fit.interpolation == .bicubic ? 3 : 2
      if let side = fit.shorterSide {
        // ViT's cuts nothing out.
        result["image_processor_type"] = "CLIPImageProcessor"
        result["size"] = ["shortest_edge": side]
        result["do_center_crop"] = true
        result["crop_size"] = ["height": shape[1], "width": shape[2]]
      }
    }
    return result
  }

  /// A number for each channel.
  static func spread(_ values: [Float], over channels: Int) -> [Double] {
    (values.count == 1 ? Array(repeating: values[0], count: channels) : values).map(Double.init)
  }

  /// The card of the model folder, or a short one, and how the folder is loaded.
  private static func card(of source: ExportSource, _ theirs: TheirModel?) -> String {
    let shape = source.description.model.inputShape.map(String.init).joined(separator: ", ")
    let type = source.takesTokens ? "int64" : "float32"
    let old =
      source.card
        ?? """
        ---
        library_name: distill
        tags: [knowledge-distillation]
        ---
        # \(source.description.model.architecture)

        No results were measured with it.

        """
    var loading = """
      ## Loading it

      `model.py` needs PyTorch alone:

      ```python
      from model import LABELS, Model
      model = Model.load()
      logits = model(inputs)  # \(type) [N, \(shape)]
      ```

      """
    if let theirs { loading += "\n\(theirs.loading)\n" }
    if source.isForPictures {
      loading +=
        "\nPictures are bytes divided by 255\(source.description.normalization == nil ? "" : ", normalized by `MEAN` and `STANDARD_DEVIATION`")"
        + "; `preprocessor_config.json` says so to image processors.\n"
    }
    // An exported folder that is exported again says it once.
    let kept = old.range(of: "\n## Loading it\n").map { String(old[..<$0.lowerBound]) } ?? old
    return kept.trimmingCharacters(in: .newlines) + "\n\n" + loading
  }
}
