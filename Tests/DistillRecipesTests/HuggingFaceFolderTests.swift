import DistillModels
import DistillRecipes
import DistillRuntime
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Folders for Hugging Face load in `transformers`, and compute there what they compute here.
@Suite(.enabled(if: PythonEnvironment.transformers.path != nil, PythonEnvironment.transformers.missing))
struct HuggingFaceFolderTests {
  static let specifications = [
    ModelSpecification(
      "bert",
      [
        "vocabulary": 40, "depth": 2, "width": 16, "heads": 4, "length": 20, "separator": 3, "pooling": "tanh",
        "hidden": 24, "activation": "gelu-tanh", "padding": 1,
      ], inputShape: [10], classCount: 3),
    // RoBERTa's and DistilBERT's.
    ModelSpecification(
      "bert",
      [
        "vocabulary": 40, "depth": 2, "width": 16, "heads": 4, "length": 20, "pooling": "tanh", "types": 1,
        "places_after_padding": true, "padding": 1, "epsilon": 1e-5,
      ], inputShape: [10], classCount: 3),
    ModelSpecification(
      "bert",
      [
        "vocabulary": 40, "depth": 2, "width": 16, "heads": 4, "length": 20, "pooling": "relu", "types": 0,
        "hidden": 24, "padding": 1,
      ], inputShape: [10], classCount: 3),
    // Those of sentence-transformers.
    ModelSpecification(
      "bert",
      [
        "vocabulary": 40, "depth": 2, "width": 16, "heads": 4, "length": 20, "pooling": "mean",
        "head": "unit-embedding", "padding": 1,
      ], inputShape: [10], classCount: 16),
    ModelSpecification(
      "bert",
      [
        "vocabulary": 40, "depth": 1, "width": 16, "heads": 4, "length": 20, "pooling": "first", "head": "embedding",
        "padding": 1, "separator": 3,
      ], inputShape: [10], classCount: 16),
    ModelSpecification(
      "decoder", ["depth": 2, "width": 16, "heads": 4, "length": 12], inputShape: [9], classCount: 11),
    ModelSpecification(
      "llama", ["depth": 2, "width": 16, "heads": 4, "key_heads": 2, "base": 5000.0], inputShape: [9], classCount: 11),
    ModelSpecification(
      "llama", ["depth": 1, "width": 12, "heads": 2, "head_width": 4, "tied": true, "hidden": 20, "length": 30],
      inputShape: [6], classCount: 7),
    ModelSpecification("resnet", ["depth": 18], inputShape: [3, 32, 32], classCount: 3),
    ModelSpecification(
      "vit", ["patch": 4, "depth": 2, "width": 12, "heads": 3, "hidden": 20], inputShape: [1, 8, 12], classCount: 4),
    ModelSpecification(
      "efficientnet", ["lite": true, "padding": "same", "epsilon": 1e-3], inputShape: [3, 32, 32], classCount: 4),
    ModelSpecification("efficientnet", ["width": 1.0, "depth": 1.1], inputShape: [1, 32, 48], classCount: 3),
  ]

  /// torchvision's own operators may be absent; nothing here needs one.
  private static let imports = [
    "import sys, torch", "from safetensors.torch import load_file",
    "register, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: (lambda function: function)",
    "import torchvision", "torch.library.register_fake = register", "import transformers",
  ].joined(separator: "; ")

  @Test(arguments: specifications)
  func loadsInTransformers(_ specification: ModelSpecification) throws {
    let python = try #require(PythonEnvironment.transformers.path)
    try withTemporaryFolder { folder in
      let resolved = try ModelZoo.resolve(specification)
      let model = try withRandomStream(RandomStream(seed: 1)) { try ModelZoo.make(resolved) }
      // Weights as they begin are small: without this one model is much as another.
      try withoutGradient {
        let factor = specification.inputShape.count == 1 ? 8.0 : 1.5
        for named in model.state where named.tensor.rank > 1 { try named.tensor.copy(from: named.tensor * factor) }
        // Behind many blocks with a sigmoid nothing would be left but for running statistics that fit.
        if specification.architecture == "efficientnet" {
          for seed in 1...30 {
            _ = try model(
              withRandomStream(RandomStream(seed: UInt64(seed))) {
                try Tensor.empty([4] + specification.inputShape).drawUniform(from: -1, to: 1)
              })
          }
        }
      }
      model.eval()
      let labels = (0..<specification.classCount).map { "label \($0)" }
      try ModelFolder("\(folder)/model").save(
        model, .init(model: resolved, labels: labels, normalization: nil), card: "# A model\n")
      let source = try ExportSource("\(folder)/model")
      _ = try HuggingFaceFolder("\(folder)/out").write(source, python: "", constants: [])
      // It stays one of ours.
      #expect(try ModelFolder("\(folder)/out").load().description == source.description)
      if specification.inputShape.count == 3 {
        try Self.loadsPictures(source, in: folder, by: python)
        return
      }

      var random = RandomSource(seed: 2)
      let (rows, length) = (3, specification.inputShape[0])
      var tokens = (0..<rows * length).map { _ in Int.random(in: 4..<7, using: &random) }
      let isEncoder = specification.architecture == "bert"
      let hasPairs = specification.options["separator"] != nil
      // A pair, and a text that is filled up.
      if isEncoder {
        tokens[2] = 3
        for place in 6..<length { tokens[length + place] = 1 }
      }
      let inputs = try Tensor(tokens, shape: [rows, length])
      let logits = try withoutGradient { try source.model(inputs) }
      try Checkpoint.write(
        [NamedTensor(name: "tokens", tensor: inputs), NamedTensor(name: "logits", tensor: logits.contiguous())],
        metadata: [:], to: "\(folder)/expected.safetensors")
      let kind =
        specification.options["head"] != nil
        ? "AutoModel" : isEncoder ? "AutoModelForSequenceClassification" : "AutoModelForCausalLM"
      let program = """
        \(Self.imports)
        import json
        folder, expected, kind, pairs = sys.argv[1], load_file(sys.argv[2]), sys.argv[3], sys.argv[4] == "true"
        arguments = {"add_pooling_layer": False} if kind == "AutoModel" else {}
        model, info = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True, **arguments)
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        tokens = expected["tokens"]
        more = {}
        if kind != "AutoModelForCausalLM":
            more["attention_mask"] = (tokens != 1).long()
            assert model.config.id2label[2] == "label 2"
        if pairs:
            ends = (tokens == 3).long()
            more["token_type_ids"] = ((ends.cumsum(1) - ends > 0) & (tokens != 1)).long()
        with torch.no_grad():
            outputs = model.eval()(input_ids=tokens, **more)
        if kind != "AutoModel":
            logits = outputs.logits
        else:  # As sentence-transformers does it, by what the folder says.
            hidden, mask = outputs.last_hidden_state, more["attention_mask"].unsqueeze(-1)
            pooling = json.load(open(folder + "/1_Pooling/config.json"))
            modules = [module["type"].rsplit(".")[-1] for module in json.load(open(folder + "/modules.json"))]
            logits = (hidden * mask).sum(1) / mask.sum(1) if pooling["pooling_mode_mean_tokens"] else hidden[:, 0]
            logits = torch.nn.functional.normalize(logits, dim=-1) if modules[2:] == ["Normalize"] else logits
        largest = max(1, expected["logits"].abs().max().item())
        assert logits.shape == expected["logits"].shape
        difference = (logits - expected["logits"]).abs().max().item()
        assert difference < 1e-5 * largest, difference
        """
      let failure = PythonEnvironment.failure(
        python, ["-c", program, "\(folder)/out", "\(folder)/expected.safetensors", kind, "\(hasPairs)"])
      #expect(failure == nil)
      // Numbers that are others would have been noticed.
      #expect(try logits.maximum(along: -1).absolute().floats().contains { $0 > 1e-3 })
    }
  }

  /// By timm, and by transformers, which asks timm.
  private static func loadsPictures(_ source: ExportSource, in folder: String, by python: String) throws {
    let inputs = try withRandomStream(RandomStream(seed: 3)) {
      try Tensor.empty([2] + source.description.model.inputShape).drawUniform(from: -1, to: 1)
    }
    let logits = try withoutGradient { try source.model(inputs) }
    try Checkpoint.write(
      [NamedTensor(name: "inputs", tensor: inputs), NamedTensor(name: "logits", tensor: logits.contiguous())],
      metadata: [:], to: "\(folder)/expected.safetensors")
    let program = """
      \(Self.imports)
      import timm
      folder, expected = sys.argv[1], load_file(sys.argv[2])
      inputs, logits = expected["inputs"], expected["logits"]
      theirs, info = transformers.AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
      assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
      assert theirs.config.id2label[2] == "label 2"
      model = timm.create_model("local-dir:" + folder, pretrained=True)
      limit = 1e-5 * max(1, logits.abs().max().item())
      with torch.no_grad():
          assert (model.eval()(inputs) - logits).abs().max().item() < limit
          assert (theirs.eval()(pixel_values=inputs).logits - logits).abs().max().item() < limit
      """
    let failure = PythonEnvironment.failure(python, ["-c", program, "\(folder)/out", "\(folder)/expected.safetensors"])
    #expect(failure == nil)
    #expect(try logits.maximum(along: -1).absolute().floats().contains { $0 > 1e-3 })
  }
}
