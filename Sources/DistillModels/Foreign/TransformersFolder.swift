import Foundation
import Torch
import TorchNN

// What `config.json` of Hugging Face's `transformers` says, for each kind of model.

extension ForeignModel {
  private static let kinds: KeyValuePairs<String, @Sendable (ForeignReader, String) throws -> ForeignModel> = [
    "bert": { try bert($0, $1, .bert) }, "roberta": { try bert($0, $1, .roberta) },
    "xlm-roberta": { try bert($0, $1, .roberta) }, "distilbert": { try bert($0, $1, .distilbert) },
    "vit": vision, "deit": vision, "resnet": resnet, "gpt2": gpt2, "llama": llama,
  ]

  static func ofTransformers(_ config: ForeignReader) throws -> ForeignModel {
    let type = config.text("model_type") ?? ""
    guard let read = kinds.first(where: { $0.key == type })?.value else {
      throw ModelError([
        "model_type is \(config.words("model_type")), which is not known here; accepted are "
          + kinds.map(\.key).joined(separator: ", ")
      ])
    }
    var found = try read(config, config.texts("architectures").first ?? "")
    found.notices += config.notices
    return found
  }

  /// What a class is for: its name behind that of the family.
  private static func purpose<Value>(
    _ config: ForeignReader, _ name: String, _ families: [String], _ purposes: KeyValuePairs<String, Value>,
    default value: Value
  ) -> Value {
    if name.isEmpty { return value }
    for family in families {
      for purpose in purposes where name == family + purpose.key { return purpose.value }
    }
    let accepted = families.flatMap { family in purposes.map { family + $0.key } }
    config.problems.append(
      "architectures is '\(name)', which is not known here; accepted are \(accepted.joined(separator: ", "))")
    return value
  }

  // MARK: Texts

  private enum TextFamily {
    case bert, roberta, distilbert
  }

  private static func bert(_ config: ForeignReader, _ name: String, _ family: TextFamily) throws -> ForeignModel {
    let isDistil = family == .distilbert
    let names =
      switch family {
      case .bert: ["Bert"]
      case .roberta: ["Roberta", "XLMRoberta"]
      case .distilbert: ["DistilBert"]
      }
    let hasClasses = purpose(
      config, name, names,
      ["ForSequenceClassification": true, "Model": false, "ForMaskedLM": false, "ForPreTraining": false], default: false
    )
    config.expect("is_decoder", false, "a decoder of this family")
    config.expect("add_cross_attention", false, "attention to another text")
    _ = config.word("position_embedding_type", default: "absolute", ["absolute": true])
    let width = config.integer(isDistil ? "dim" : "hidden_size", in: 1...16_384)
    let padding = config.integer("pad_token_id", default: family == .roberta ? 1 : 0, in: 0...1_000_000)
    let places = config.integer("max_position_embeddings", default: 512, in: 1...1_000_000)
    let length = family == .roberta ? places - padding - 1 : places
    let types = isDistil ? 0 : config.integer("type_vocab_size", default: 2, in: 0...16)
    if length < 1 { config.problems.append("max_position_embeddings is \(places), which leaves no place for a text") }
    var options: [String: OptionValue] = [
      "vocabulary": .integer(config.integer("vocab_size")),
      "depth": .integer(config.integer(isDistil ? "n_layers" : "num_hidden_layers", in: 1...96)),
      "width": .integer(width),
      "heads": .integer(config.heads(isDistil ? "n_heads" : "num_attention_heads", dividing: width)),
      "hidden": .integer(config.integer(isDistil ? "hidden_dim" : "intermediate_size", in: 1...65_536)),
      "activation": .text(config.activation(isDistil ? "activation" : "hidden_act", default: "gelu")),
      "length": .integer(max(1, length)), "places_after_padding": .flag(family == .roberta),
      "types": .integer(types), "padding": .integer(padding),
      "epsilon": .number(config.number("layer_norm_eps", default: 1e-12)),
      "dropout": .number(config.number(isDistil ? "dropout" : "hidden_dropout_prob", default: 0.1)),
    ]
    if types > 1 {
      if let separator = try separator(in: config.folder) {
        options["separator"] = .integer(separator)
      } else {
        config.notices.append("no vocab.txt names '[SEP]': the second text of a pair is not told from the first")
      }
    }
    var labels: [String]
    if hasClasses {
      options["pooling"] = isDistil ? "relu" : "tanh"
      labels = config.labels()
    } else {
      let sentence = try sentencePooling(config)
      options["pooling"] = .text(sentence.pooling)
      options["head"] = .text(sentence.isUnit ? "unit-embedding" : "embedding")
      labels = (0..<width).map { "dimension \($0)" }
    }
    let longest = try config.other("sentence_bert_config.json")?.integer("max_seq_length", default: 128) ?? 128
    try config.finish()
    return ForeignModel(
      .transformers, name.isEmpty ? names[0] + "Model" : name,
      ModelSpecification("bert", options, inputShape: [min(longest, length)], classCount: labels.count), labels: labels)
  }

  /// What a text becomes where nothing classifies it: as the files of `sentence-transformers` say, or else the mean.
  private static func sentencePooling(_ config: ForeignReader) throws -> (pooling: String, isUnit: Bool) {
    guard FileManager.default.fileExists(atPath: "\(config.folder)/modules.json") else {
      config.notices.append("it has no head: a text becomes the mean of its last hidden states")
      return ("mean", false)
    }
    guard case .array(let modules) = try ForeignFile.value("\(config.folder)/modules.json") else {
      throw CheckpointError(path: "\(config.folder)/modules.json", problem: "it is no list of modules")
    }
    let kinds: [(kind: String, path: String)] = modules.compactMap { module in
      guard case .object(let members) = module else { return nil }
      func text(_ key: String) -> String {
        guard case .string(let text)? = members.first(where: { $0.key == key })?.value else { return "" }
        return text
      }
      return (text("type").split(separator: ".").last.map(String.init) ?? "", text("path"))
    }
    guard kinds.count == modules.count, kinds.count >= 2, kinds[0].kind == "Transformer", kinds[1].kind == "Pooling",
      kinds.dropFirst(2).map(\.kind) == [] || kinds.dropFirst(2).map(\.kind) == ["Normalize"]
    else {
      config.problems.append(
        "modules.json has \(kinds.map(\.kind).joined(separator: ", ")); accepted are Transformer, Pooling and, after them, "
          + "Normalize")
      return ("mean", false)
    }
    let path = kinds[1].path
    guard !path.contains("/"), !path.contains(".."), let pooling = try config.other("\(path)/config.json") else {
      config.problems.append("modules.json names the pooling '\(path.prefix(60))', and there is no config.json in it")
      return ("mean", false)
    }
    let chosen = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"].filter {
      pooling.flag("pooling_mode_\($0)", default: false)
    }
    guard chosen == ["cls_token"] || chosen == ["mean_tokens"] else {
      config.problems.append(
        "\(path)/config.json pools by \(chosen.joined(separator: " and ")); accepted are pooling_mode_mean_tokens and "
          + "pooling_mode_cls_token, one of them")
      return ("mean", false)
    }
    return (chosen == ["cls_token"] ? "first" : "mean", kinds.count == 3)
  }

  /// The number of the token that ends a text: the line of `[SEP]` in `vocab.txt`.
  private static func separator(in folder: String) throws -> Int? {
    let path = "\(folder)/vocab.txt"
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let lines = try ForeignFile.bytes(path).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    return lines.firstIndex { $0 == Data("[SEP]".utf8) || $0 == Data("[SEP]\r".utf8) }
  }

  private static func gpt2(_ config: ForeignReader, _ name: String) throws -> ForeignModel {
    _ = purpose(config, name, ["GPT2"], ["LMHeadModel": true, "Model": true], default: true)
    let width = config.integer("n_embd", default: 768, in: 1...16_384)
    let inner = config.integer("n_inner", default: 4 * width)
    if inner != 4 * width {
      config.problems.append(
        "n_inner is \(inner), which is not known here; accepted is four times n_embd, \(4 * width)")
    }
    _ = config.word("activation_function", default: "gelu_new", ["gelu_new": true, "gelu_pytorch_tanh": true])
    let epsilon = config.number("layer_norm_epsilon", default: 1e-5)
    if epsilon != 1e-5 { config.problems.append("layer_norm_epsilon is \(epsilon); accepted is 1e-05") }
    config.expect("scale_attn_weights", true, "attention whose scores are not scaled")
    config.expect("scale_attn_by_inverse_layer_idx", false, "attention that is scaled by the number of the layer")
    config.expect("add_cross_attention", false, "attention to another text")
    let classes = config.integer("vocab_size", default: 50_257)
    let length = config.integer("n_positions", default: 1024, in: 1...65_536)
    let options: [String: OptionValue] = [
      "width": .integer(width), "depth": .integer(config.integer("n_layer", default: 12, in: 1...96)),
      "heads": .integer(config.heads("n_head", default: 12, dividing: width)), "length": .integer(length),
      "dropout": .number(config.number("resid_pdrop", default: 0.1)),
      "tied": .flag(config.flag("tie_word_embeddings", default: true)),
    ]
    try config.finish()
    return decoder("decoder", name.isEmpty ? "GPT2LMHeadModel" : name, options, length, classes)
  }

  private static func llama(_ config: ForeignReader, _ name: String) throws -> ForeignModel {
    _ = purpose(config, name, ["Llama"], ["ForCausalLM": true, "Model": true], default: true)
    let heads = config.integer("num_attention_heads", in: 1...256)
    _ = config.word("hidden_act", default: "silu", ["silu": true, "swish": true])
    config.expect("attention_bias", false, "attention with biases")
    config.expect("mlp_bias", false, "maps with biases")
    var base = config.number("rope_theta", default: 10_000)
    for key in ["rope_parameters", "rope_scaling"] {
      guard let places = config.inner(key) else { continue }
      base = places.number("rope_theta", default: base)
      let kind = places.text("rope_type") ?? places.text("type") ?? "default"
      if kind != "default" {
        config.problems.append(
          "\(key) is of the kind '\(kind.prefix(60))', which is not known here; accepted is default")
      }
      let part = places.number("partial_rotary_factor", default: 1)
      if part != 1 { config.problems.append("\(key) turns a part of each head; accepted is partial_rotary_factor 1") }
      config.problems += places.problems
    }
    let classes = config.integer("vocab_size", default: 32_000)
    let length = config.integer("max_position_embeddings", default: 2048, in: 1...1_048_576)
    let options: [String: OptionValue] = [
      "width": .integer(config.integer("hidden_size", in: 1...16_384)),
      "depth": .integer(config.integer("num_hidden_layers", in: 1...128)), "heads": .integer(heads),
      "key_heads": .integer(config.integer("num_key_value_heads", default: heads, in: 1...256)),
      "head_width": .integer(config.integer("head_dim", default: 0, in: 1...1024)),
      "hidden": .integer(config.integer("intermediate_size", in: 1...131_072)), "length": .integer(length),
      "base": .number(base), "epsilon": .number(config.number("rms_norm_eps", default: 1e-6)),
      "tied": .flag(config.flag("tie_word_embeddings", default: false)),
    ]
    try config.finish()
    return decoder("llama", name.isEmpty ? "LlamaForCausalLM" : name, options, length, classes)
  }

  private static func decoder(
    _ architecture: String, _ name: String, _ options: [String: OptionValue], _ length: Int, _ classes: Int
  ) -> ForeignModel {
    ForeignModel(
      .transformers, name,
      ModelSpecification(architecture, options, inputShape: [min(length, 128)], classCount: classes),
      labels: (0..<classes).map { "token \($0)" })
  }

  // MARK: Images

  private static func vision(_ config: ForeignReader, _ name: String) throws -> ForeignModel {
    let isDeiT = config.text("model_type") == "deit"
    let distillation =
      isDeiT
      ? purpose(
        config, name, ["DeiT"], ["ForImageClassification": "ignored", "ForImageClassificationWithTeacher": "averaged"],
        default: "ignored")
      : purpose(config, name, ["ViT"], ["ForImageClassification": "none"], default: "none")
    config.expect("qkv_bias", true, "attention without biases")
    let side = config.integer("image_size", default: 224, in: 1...65_536)
    let width = config.integer("hidden_size", default: 768, in: 1...16_384)
    let options: [String: OptionValue] = [
      "patch": .integer(config.integer("patch_size", default: 16, in: 1...256)),
      "depth": .integer(config.integer("num_hidden_layers", default: 12, in: 1...96)),
      "width": .integer(width),
      "heads": .integer(config.heads("num_attention_heads", default: 12, dividing: width)),
      "hidden": .integer(config.integer("intermediate_size", default: 3072, in: 1...65_536)),
      "activation": .text(config.activation("hidden_act", default: "gelu")), "distillation": .text(distillation),
      "epsilon": .number(config.number("layer_norm_eps", default: 1e-12)),
      "dropout": .number(config.number("hidden_dropout_prob", default: 0)),
    ]
    return try image(config, name, "vit", options, size: [side, side])
  }

  private static func resnet(_ config: ForeignReader, _ name: String) throws -> ForeignModel {
    _ = purpose(config, name, ["ResNet"], ["ForImageClassification": true], default: true)
    _ = config.word("hidden_act", default: "relu", ["relu": true])
    config.expect("downsample_in_first_stage", false, "a first stage with stride")
    config.expect("downsample_in_bottleneck", false, "a stride in the first convolution of a block")
    let isDeep = config.word("layer_type", default: "bottleneck", ["bottleneck": true, "basic": false]) ?? true
    let counts = config.numbers("depths") ?? [3, 4, 6, 3]
    let widths = config.numbers("hidden_sizes") ?? [256, 512, 1024, 2048]
    let depths: [(depth: Int, isDeep: Bool, counts: [Double])] = [
      (18, false, [2, 2, 2, 2]), (34, false, [3, 4, 6, 3]), (50, true, [3, 4, 6, 3]), (101, true, [3, 4, 23, 3]),
      (152, true, [3, 8, 36, 3]),
    ]
    let wanted: [Double] = isDeep ? [256, 512, 1024, 2048] : [64, 128, 256, 512]
    let depth = depths.first { $0.isDeep == isDeep && $0.counts == counts }?.depth
    if depth == nil || widths != wanted || config.integer("embedding_size", default: 64) != 64 {
      config.problems.append(
        "depths, hidden_sizes, embedding_size and layer_type are those of no ResNet that is known here; accepted are 18, 34, "
          + "50, 101 and 152 layers as in the paper")
    }
    return try image(config, name, "resnet", ["depth": .integer(depth ?? 50)], size: [224, 224])
  }

  private static func image(
    _ config: ForeignReader, _ name: String, _ architecture: String, _ options: [String: OptionValue], size: [Int]
  ) throws -> ForeignModel {
    let channels = config.integer("num_channels", default: 3, in: 1...65_536)
    let labels = config.labels()
    let preparation = try preparation(config, channels: channels, size: size)
    let seen = architecture == "vit" ? size : preparation?.size ?? size
    try config.finish()
    return ForeignModel(
      .transformers, name.isEmpty ? architecture : name,
      ModelSpecification(architecture, options, inputShape: [channels] + seen, classCount: labels.count),
      labels: labels, preparation: preparation)
  }

  /// What `preprocessor_config.json` says.
  private static func preparation(_ config: ForeignReader, channels: Int, size: [Int]) throws -> ImagePreparation? {
    guard let file = try config.other("preprocessor_config.json") else {
      config.notices.append("there is no preprocessor_config.json: nothing says how images are to be normalized")
      return nil
    }
    defer { config.problems += file.problems.map { "preprocessor_config.json: \($0)" } }
    /// The number that an object or the number itself says.
    func sides(_ key: String) -> (height: Int, width: Int, isShortest: Bool)? {
      if let inner = file.inner(key) {
        if inner.members["shortest_edge"] != nil {
          let side = inner.integer("shortest_edge", in: 1...65_536)
          return (side, side, true)
        }
        return (inner.integer("height", in: 1...65_536), inner.integer("width", in: 1...65_536), false)
      }
      guard file.members[key] != nil else { return nil }
      let side = file.integer(key, in: 1...65_536)
      return (side, side, false)
    }
    let given = sides("size")
    let crop = file.flag("do_center_crop", default: file.members["crop_size"] != nil || file.members["crop_pct"] != nil)
    let interpolation: ImagePreparation.Interpolation =
      switch file.integer("resample", default: 2, in: 0...5) {
      case 2: .bilinear
      case 3: .bicubic
      default: .bilinear
      }
    if ![2, 3].contains(file.integer("resample", default: 2, in: 0...5)) {
      file.problems.append("resample is \(file.words("resample")); accepted are 2 (bilinear) and 3 (bicubic)")
    }
    let scale = file.number("rescale_factor", default: 1 / 255)
    if abs(scale * 255 - 1) > 1e-6 { file.problems.append("rescale_factor is \(scale); accepted is 1/255") }
    var shown = [given?.height ?? size[0], given?.width ?? size[1]]
    var shorter: Int?
    let part = file.number("crop_pct", default: 1)
    if !(0.05...1).contains(part) { file.problems.append("crop_pct is \(part), but has to be from 0.05 to 1") }
    if file.members["crop_pct"] != nil, given?.isShortest == true, shown[0] < 384 {
      shorter = Int(Double(shown[0]) / max(0.05, min(1, part)))  // as transformers does for ResNet
    } else if crop {
      shorter = given?.height
      if given?.isShortest == false, let given {
        config.notices.append(
          "pictures keep their proportions when their shorter side is brought to \(given.height) pixels; transformers stretches "
            + "them to \(given.height) × \(given.width) before it cuts the middle out")
      }
      if let cut = sides("crop_size") { shown = [cut.height, cut.width] }
    } else if given?.isShortest == true {
      shorter = given?.height
    }
    let normalizes = file.flag("do_normalize", default: true)
    func list(_ key: String, _ value: Float) -> [Float] {
      guard normalizes else { return Array(repeating: value, count: channels) }
      guard let found = file.numbers(key), found.count == channels || found.count == 1 else {
        file.problems.append("\(key) has to be a list of \(channels) numbers")
        return Array(repeating: value, count: channels)
      }
      return found.count == channels ? found.map { Float($0) } : Array(repeating: Float(found[0]), count: channels)
    }
    return ImagePreparation(
      size: shown, shorterSide: shorter, interpolation: interpolation, mean: list("image_mean", 0),
      standardDeviation: list("image_std", 1))
  }
}
