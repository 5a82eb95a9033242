import DistillData
import DistillModels
import DistillRuntime
import Foundation
import Torch
import TorchNN

/// What Hugging Face's libraries call a model, where its architecture is one of theirs: BERT, RoBERTa, DistilBERT, GPT-2 and
/// Llama of transformers, embeddings of sentence-transformers, and ResNet, EfficientNet and ViT of timm, which transformers
/// loads, too.
struct TheirModel {
  /// What `config.json` says for them.
  var configuration: [String: Any]
  /// How their checkpoints spell the keys; nil: as we do.
  var keys: KeyTable?
  /// Other files that they look for, by name.
  var files: [String: Any] = [:]
  /// How it is loaded there, in words.
  var loading: String

  /// The names that `files` may have.
  static let fileNames = ["modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]

  /// nil where no library of theirs has it.
  init?(_ source: ExportSource) {
    let model = Options(source)
    let found: TheirModel? =
      switch model.specification.architecture {
      case "bert": Self.classifier(model) ?? Self.embedding(model)
      case "llama": Self.llama(model)
      case "decoder": Self.gpt2(model)
      case "resnet", "efficientnet", "vit": Self.picture(model)
      default: nil
      }
    guard let found else { return nil }
    self = found
  }

  private init(_ configuration: [String: Any], keys: KeyTable? = nil, files: [String: Any] = [:], loading: String) {
    self.configuration = configuration
    self.keys = keys
    self.files = files
    self.loading = loading
  }

  /// The options of a model, spelled out.
  private struct Options {
    let description: ModelFolder.Description
    let layer: any TorchNN.Layer
    var specification: ModelSpecification { description.model }

    init(_ source: ExportSource) {
      description = source.description
      layer = source.model
    }

    func integer(_ name: String) -> Int {
      if case .integer(let value)? = specification.options[name] { value } else { 0 }
    }
    func text(_ name: String) -> String {
      if case .text(let value)? = specification.options[name] { value } else { "" }
    }
    func flag(_ name: String) -> Bool { specification.options[name] == .flag(true) }
    func number(_ name: String) -> Double {
      switch specification.options[name] {
      case .number(let value): value
      case .integer(let value): Double(value)
      default: 0
      }
    }
    /// How many rows a weight has.
    func rows(_ key: String) -> Int { layer.state.first { $0.name == key }?.tensor.shape.first ?? 0 }
    func keys(_ name: String) -> KeyTable? {
      (layer as? any KnownElsewhere)?.keyTables.first { $0.name == name }
    }
  }

  // MARK: Texts

  /// BERT's, RoBERTa's and DistilBERT's classifiers of whole texts.
  private static func classifier(_ model: Options) -> TheirModel? {
    guard model.text("head") == "classes" else { return nil }
    let loading =
      "In transformers: `AutoModelForSequenceClassification.from_pretrained(folder)`, with `attention_mask` 1 where a token "
      + "is not padding."
    switch (model.text("pooling"), isAfterPadding: model.flag("places_after_padding"), types: model.integer("types")) {
    case ("tanh", false, 1...):
      let own: [String: Any] = ["model_type": "bert", "architectures": ["BertForSequenceClassification"]]
      return TheirModel(own.merging(encoder(model)) { $1 }, loading: loading)
    case ("tanh", true, 1...):
      // Theirs counts the places of padding and before it, too, and knows no types of tokens by itself.
      let own: [String: Any] = [
        "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"],
        "max_position_embeddings": model.integer("length") + model.integer("padding") + 1,
      ]
      return TheirModel(
        encoder(model).merging(own) { $1 }, keys: model.keys("Hugging Face's RoBERTa with a head"), loading: loading)
    case ("relu", false, 0) where model.number("epsilon") == 1e-12:
      return TheirModel(
        [
          "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"],
          "vocab_size": model.integer("vocabulary"), "n_layers": model.integer("depth"), "dim": model.integer("width"),
          "n_heads": model.integer("heads"), "hidden_dim": model.rows("bert.encoder.layer.0.intermediate.dense.weight"),
          "activation": activation(model), "max_position_embeddings": model.integer("length"),
          "pad_token_id": model.integer("padding"), "sinusoidal_pos_embds": false, "dropout": model.number("dropout"),
          "attention_dropout": 0.0, "seq_classif_dropout": model.number("dropout"),
        ], keys: model.keys("Hugging Face's DistilBERT"), loading: loading)
    default: return nil
    }
  }

  /// What sentence-transformers builds on: a BERT without a head, and how a text's row is made of its hidden states.
  private static func embedding(_ model: Options) -> TheirModel? {
    let pooling = model.text("pooling")
    guard model.text("head").hasSuffix("embedding"), ["mean", "first"].contains(pooling), model.integer("types") > 0,
      !model.flag("places_after_padding")
    else { return nil }
    func module(_ number: Int, _ path: String, _ type: String) -> [String: Any] {
      ["idx": number, "name": "\(number)", "path": path, "type": "sentence_transformers.models.\(type)"]
    }
    let isUnit = model.text("head") == "unit-embedding"
    let own: [String: Any] = ["model_type": "bert", "architectures": ["BertModel"]]
    return TheirModel(
      own.merging(encoder(model)) { $1 }, keys: model.keys("Hugging Face's BERT without a head"),
      files: [
        "modules.json": [module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")]
          + (isUnit ? [module(2, "2_Normalize", "Normalize")] : []),
        "sentence_bert_config.json": ["max_seq_length": model.specification.inputShape[0], "do_lower_case": false],
        "1_Pooling/config.json": [
          "word_embedding_dimension": model.integer("width"), "pooling_mode_cls_token": pooling == "first",
          "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": false,
          "pooling_mode_mean_sqrt_len_tokens": false,
        ],
      ],
      loading:
        "In sentence-transformers: `SentenceTransformer(folder)`. In transformers `AutoModel.from_pretrained(folder, "
        + "add_pooling_layer=False)` gives the hidden states, of which the embedding is \(pooling == "mean" ? "the mean" : "the first")."
    )
  }

  /// What BERT and RoBERTa are described by.
  private static func encoder(_ model: Options) -> [String: Any] {
    [
      "vocab_size": model.integer("vocabulary"), "num_hidden_layers": model.integer("depth"),
      "hidden_size": model.integer("width"), "num_attention_heads": model.integer("heads"),
      "intermediate_size": model.rows("bert.encoder.layer.0.intermediate.dense.weight"),
      "hidden_act": activation(model), "max_position_embeddings": model.integer("length"),
      "type_vocab_size": model.integer("types"), "pad_token_id": model.integer("padding"),
      "layer_norm_eps": model.number("epsilon"), "hidden_dropout_prob": model.number("dropout"),
      "attention_probs_dropout_prob": 0.0,
    ]
  }

  private static func activation(_ model: Options) -> String {
    model.text("activation") == "gelu-tanh" ? "gelu_pytorch_tanh" : model.text("activation")
  }

  private static let generation = "In transformers: `AutoModelForCausalLM.from_pretrained(folder)`."

  private static func llama(_ model: Options) -> TheirModel {
    let (width, heads) = (model.integer("width"), model.integer("heads"))
    let (keyHeads, headWidth) = (model.integer("key_heads"), model.integer("head_width"))
    return TheirModel(
      [
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": model.specification.classCount,
        "num_hidden_layers": model.integer("depth"), "hidden_size": width, "num_attention_heads": heads,
        "num_key_value_heads": keyHeads == 0 ? heads : keyHeads, "head_dim": headWidth == 0 ? width / heads : headWidth,
        "intermediate_size": model.rows("model.layers.0.mlp.gate_proj.weight"),
        "hidden_act": "silu",
        "max_position_embeddings": max(model.integer("length"), model.specification.inputShape[0]),
        "rms_norm_eps": model.number("epsilon"), "rope_theta": model.number("base"),
        "rope_parameters": ["rope_type": "default", "rope_theta": model.number("base")],
        "tie_word_embeddings": model.flag("tied"), "attention_bias": false, "mlp_bias": false, "attention_dropout": 0.0,
        "bos_token_id": NSNull(), "eos_token_id": NSNull(),
      ], loading: generation)
  }

  private static func gpt2(_ model: Options) -> TheirModel {
    TheirModel(
      [
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": model.integer("depth"),
        "n_head": model.integer("heads"), "n_embd": model.integer("width"),
        "n_positions": max(model.integer("length"), model.specification.inputShape[0]),
        "vocab_size": model.specification.classCount, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": model.flag("tied"), "bos_token_id": NSNull(), "eos_token_id": NSNull(),
      ], loading: generation)
  }

  // MARK: Pictures

  private static func picture(_ model: Options) -> TheirModel? {
    let shape = model.specification.inputShape
    let channels: [String: Any] = ["in_chans": shape[0]]
    switch model.specification.architecture {
    case "resnet" where !model.flag("small_images"):
      return timm(model, "resnet\(model.integer("depth"))", channels, first: "conv1", last: "fc")
    case "efficientnet":
      return efficientNet(model).map { name in
        timm(
          model, name, channels.merging(["bn_eps": model.number("epsilon")]) { $1 }, first: "conv_stem",
          last: "classifier")
      }
    case "vit"
    where model.text("distillation") == "none" && model.text("activation") == "gelu" && model.number("epsilon") == 1e-6:
      let (width, hidden) = (model.integer("width"), model.integer("hidden"))
      let arguments: [String: Any] = [
        "img_size": Array(shape.dropFirst()), "patch_size": model.integer("patch"), "embed_dim": width,
        "depth": model.integer("depth"), "num_heads": model.integer("heads"),
        "mlp_ratio": hidden == 0 ? 4.0 : Double(hidden) / Double(width),
      ]
      return timm(
        model, "vit_base_patch16_224", channels.merging(arguments) { $1 }, first: "patch_embed.proj", last: "head")
    default: return nil
    }
  }

  /// Which of timm's it is; nil for widths and depths that have no name.
  private static func efficientNet(_ model: Options) -> String? {
    let sizes =
      model.flag("lite")
      ? [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)]
      : [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1)]
    guard let number = sizes.firstIndex(where: { $0 == (model.number("width"), model.number("depth")) }) else {
      return nil
    }
    return (model.text("padding") == "same" ? "tf_" : "") + "efficientnet_\(model.flag("lite") ? "lite" : "b")\(number)"
  }

  /// What timm asks, and transformers, which hands such folders to timm.
  private static func timm(
    _ model: Options, _ name: String, _ arguments: [String: Any], first: String, last: String
  ) -> TheirModel {
    let (shape, classes) = (model.specification.inputShape, model.specification.classCount)
    var weights: [String: Any] = [
      "input_size": shape, "num_classes": classes, "first_conv": first, "classifier": last,
    ]
    if let normalization = model.description.normalization {
      weights["mean"] = HuggingFaceFolder.spread(normalization.mean, over: shape[0])
      weights["std"] = HuggingFaceFolder.spread(normalization.standardDeviation, over: shape[0])
    }
    return TheirModel(
      [
        "model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"], "architecture": name,
        "num_classes": classes, "model_args": arguments, "pretrained_cfg": weights,
      ],
      loading:
        "In timm: `timm.create_model(\"local-dir:\" + folder, pretrained=True)`; in transformers, with timm installed: "
        + "`AutoModelForImageClassification.from_pretrained(folder)`.")
  }
}
