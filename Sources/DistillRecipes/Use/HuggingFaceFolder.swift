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

  private static let names = [
    "model.safetensors", "config.json", "README.md", "preprocessor_config.json", "model.py", "constants.safetensors",
  ]

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
    let stored = try source.model.state.map {
      NamedTensor(name: $0.name, tensor: try $0.tensor.detached().contiguous())
    }
    try Checkpoint.write(stored, metadata: ["format": "pt"], to: "\(path)/model.safetensors")
    var files: [String: Data] = [
      "config.json": try Self.json(Self.configuration(of: source)),
      "model.py": Data(python.utf8),
      "README.md": Data(Self.card(of: source).utf8),
    ]
    if let preprocessing = Self.preprocessing(of: source) {
      files["preprocessor_config.json"] = try Self.json(preprocessing)
    }
    if !constants.isEmpty {
      try Checkpoint.write(constants, metadata: ["format": "pt"], to: "\(path)/constants.safetensors")
    }
    for (name, data) in files { try AtomicFile.write(data, to: "\(path)/\(name)") }
    let made = Set(files.keys).union(["model.safetensors"]).union(constants.isEmpty ? [] : ["constants.safetensors"])
    for name in Self.names where !made.contains(name) { unlink("\(path)/\(name)") }
    // A model of texts keeps its tokenizer.
    let model = ModelFolder(source.path)
    try ModelFolder(path).copyTokenizer(from: model)
    return Self.names.filter(made.contains) + model.tokenizerFiles
  }

  private static func json(_ object: [String: Any]) throws -> Data {
    var data = try JSONSerialization.data(
      withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
    data.append(contentsOf: Array("\n".utf8))
    return data
  }

  // MARK: What is in the files

  /// What we say, which any of our commands reads again, and what their libraries ask for.
  static func configuration(of source: ExportSource) throws -> [String: Any] {
    let description = source.description
    let own = try JSONSerialization.jsonObject(with: ResultJSON.pretty(description)) as? [String: Any]
    var result = own ?? [:]
    result["library_name"] = "distill"
    result["id2label"] = Dictionary(
      description.labels.enumerated().map { ("\($0.offset)", $0.element) }
    ) { first, _ in first }
    result["label2id"] = Dictionary(description.labels.enumerated().map { ($0.element, $0.offset) }) { first, _ in first
    }
    return result.merging(theirs(source)) { $1 }
  }

  /// Where the architecture is one of theirs, and our keys are theirs too, their words for it: BERT, GPT-2 and Llama of
  /// transformers, ResNet and ViT of timm, which transformers loads, too.
  private static func theirs(_ source: ExportSource) -> [String: Any] {
    let description = source.description
    let (model, options) = (description.model, description.model.options)
    func integer(_ name: String) -> Int { if case .integer(let value) = options[name] { value } else { 0 } }
    func flag(_ name: String) -> Bool { options[name] == .flag(true) }
    /// How many rows a weight has.
    func rows(_ key: String) -> Int { source.model.state.first { $0.name == key }?.tensor.shape.first ?? 0 }
    func text(_ name: String) -> String { if case .text(let value) = options[name] { value } else { "" } }
    func number(_ name: String) -> Double {
      switch options[name] {
      case .number(let value): value
      case .integer(let value): Double(value)
      default: 0
      }
    }
    switch model.architecture {
    case "bert" where isBERT(description):
      let activations = ["gelu-tanh": "gelu_pytorch_tanh"]
      return [
        "model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": integer("vocabulary"),
        "num_hidden_layers": integer("depth"), "hidden_size": integer("width"),
        "num_attention_heads": integer("heads"),
        "intermediate_size": rows("bert.encoder.layer.0.intermediate.dense.weight"),
        "hidden_act": activations[text("activation")] ?? text("activation"),
        "max_position_embeddings": integer("length"), "type_vocab_size": integer("types"),
        "pad_token_id": integer("padding"), "layer_norm_eps": number("epsilon"),
        "hidden_dropout_prob": number("dropout"), "attention_probs_dropout_prob": 0.0,
      ]
    case "llama":
      let (width, heads, length) = (integer("width"), integer("heads"), integer("length"))
      let (keyHeads, headWidth) = (integer("key_heads"), integer("head_width"))
      return [
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": model.classCount,
        "num_hidden_layers": integer("depth"), "hidden_size": width, "num_attention_heads": heads,
        "num_key_value_heads": keyHeads == 0 ? heads : keyHeads, "head_dim": headWidth == 0 ? width / heads : headWidth,
        "intermediate_size": rows("model.layers.0.mlp.gate_proj.weight"),
        "hidden_act": "silu", "max_position_embeddings": max(length, model.inputShape[0]),
        "rms_norm_eps": number("epsilon"), "rope_theta": number("base"),
        "rope_parameters": ["rope_type": "default", "rope_theta": number("base")],
        "tie_word_embeddings": flag("tied"), "attention_bias": false, "mlp_bias": false, "attention_dropout": 0.0,
        "bos_token_id": NSNull(), "eos_token_id": NSNull(),
      ]
    case "decoder":
      return [
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": integer("depth"),
        "n_head": integer("heads"), "n_embd": integer("width"),
        "n_positions": max(integer("length"), model.inputShape[0]), "vocab_size": model.classCount,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": flag("tied"),
        "bos_token_id": NSNull(), "eos_token_id": NSNull(),
      ]
    case "resnet" where !flag("small_images"):
      return timm(
        description, "resnet\(integer("depth"))", arguments: ["in_chans": model.inputShape[0]], first: "conv1",
        last: "fc")
    case "vit" where isTimmViT(description):
      let hidden = integer("hidden") == 0 ? 4 * integer("width") : integer("hidden")
      return timm(
        description, "vit_base_patch16_224",
        arguments: [
          "in_chans": model.inputShape[0], "img_size": Array(model.inputShape.dropFirst()),
          "patch_size": integer("patch"),
          "embed_dim": integer("width"), "depth": integer("depth"), "num_heads": integer("heads"),
          "mlp_ratio": Double(hidden) / Double(integer("width")),
        ], first: "patch_embed.proj", last: "head")
    default: return [:]
    }
  }

  /// What timm asks, and transformers, which hands such folders to timm.
  private static func timm(
    _ description: ModelFolder.Description, _ name: String, arguments: [String: Any], first: String, last: String
  ) -> [String: Any] {
    let (shape, classes) = (description.model.inputShape, description.model.classCount)
    var weights: [String: Any] = [
      "input_size": shape, "num_classes": classes, "first_conv": first, "classifier": last,
    ]
    if let normalization = description.normalization {
      weights["mean"] = spread(normalization.mean, over: shape[0])
      weights["std"] = spread(normalization.standardDeviation, over: shape[0])
    }
    return [
      "model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"], "architecture": name,
      "num_classes": classes, "model_args": arguments, "pretrained_cfg": weights,
    ]
  }

  /// Whether it is what timm's `VisionTransformer` computes.
  private static func isTimmViT(_ description: ModelFolder.Description) -> Bool {
    let options = description.model.options
    return options["distillation"] == .text("none") && options["activation"] == .text("gelu")
      && options["epsilon"] == .number(1e-6)
  }

  /// Whether it is what transformers' `BertForSequenceClassification` computes.
  private static func isBERT(_ description: ModelFolder.Description) -> Bool {
    let options = description.model.options
    return options["pooling"] == .text("tanh") && options["head"] == .text("classes")
      && options["places_after_padding"] == .flag(false) && options["types"] != .integer(0)
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
  private static func spread(_ values: [Float], over channels: Int) -> [Double] {
    (values.count == 1 ? Array(repeating: values[0], count: channels) : values).map(Double.init)
  }

  /// The card of the model folder, or a short one, and how the folder is loaded.
  static func card(of source: ExportSource) -> String {
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
    switch source.description.model.architecture {
    case "bert" where isBERT(source.description):
      loading +=
        "\nIn transformers: `AutoModelForSequenceClassification.from_pretrained(folder)`, with `attention_mask` 1 where a "
        + "token is not padding.\n"
    case "decoder", "llama": loading += "\nIn transformers: `AutoModelForCausalLM.from_pretrained(folder)`.\n"
    default:
      if theirs(source)["model_type"] != nil {
        loading +=
          "\nIn timm: `timm.create_model(\"local-dir:\" + folder, pretrained=True)`; in transformers, with timm installed: "
          + "`AutoModelForImageClassification.from_pretrained(folder)`.\n"
      }
    }
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
