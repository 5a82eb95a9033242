import Torch
import TorchNN

// What `config.json` of timm says: the name of an architecture, and how it was trained.

extension ForeignModel {
  /// What a name of timm's stands for in the zoo.
  private struct TimmModel {
    var architecture: String
    var options: [String: OptionValue]
    var side = 224
    /// What timm prepares images by where the configuration does not say.
    var cropPart = 0.875
    var pooling = "avg"
  }

  static func ofTimm(_ config: ForeignReader) throws -> ForeignModel {
    let given = config.text("architecture") ?? ""
    // A tag, such as '.in1k', says how the weights were trained, not what they are of.
    let name = String(given.prefix { $0 != "." })
    guard let model = timm(name) else {
      throw ModelError([
        "architecture is \(config.words("architecture")), which is not known here; accepted of timm are "
          + "resnet18, resnet34, resnet50, resnet101, resnet152, efficientnet_b0 to b7, tf_efficientnet_b0 to b7, "
          + "efficientnet_lite0 to lite4, tf_efficientnet_lite0 to lite4, vit_tiny, vit_small, vit_base and "
          + "vit_large_patch16_224 (also patch32 and 384), deit_tiny, deit_small and deit_base_patch16_224, and these with "
          + "'distilled' before the patch"
      ])
    }
    let pretrained = config.inner("pretrained_cfg") ?? ForeignReader([:], folder: config.folder)
    if let pooling = config.text("global_pool"), pooling != model.pooling {
      config.problems.append("global_pool is '\(pooling.prefix(60))'; accepted is \(model.pooling)")
    }
    let classes = config.integer("num_classes", default: pretrained.integer("num_classes", default: 1000))
    var labels = config.texts("label_names")
    if labels.isEmpty { labels = pretrained.texts("label_names") }
    if !labels.isEmpty, labels.count != classes {
      config.problems.append("label_names has \(labels.count) names for \(classes) classes")
    }
    if labels.isEmpty { labels = (0..<classes).map { "class \($0)" } }
    let size = pretrained.numbers("input_size") ?? [3, Double(model.side), Double(model.side)]
    guard size.count == 3, size.allSatisfy({ (1...65_536).contains($0) && $0 == $0.rounded() }) else {
      throw ModelError(["pretrained_cfg.input_size has to be channels, height and width"])
    }
    let shape = size.map { Int($0) }
    func list(_ key: String, _ value: [Float]) -> [Float] {
      guard let found = pretrained.numbers(key) else { return value }
      if found.count != shape[0] {
        config.problems.append("pretrained_cfg.\(key) has to be a list of \(shape[0]) numbers")
      }
      return found.map { Float($0) }
    }
    let part = pretrained.number("crop_pct", default: model.cropPart)
    if !(0.05...1).contains(part) {
      config.problems.append("pretrained_cfg.crop_pct is \(part), but has to be from 0.05 to 1")
    }
    if let mode = pretrained.text("crop_mode"), mode != "center" {
      config.problems.append("pretrained_cfg.crop_mode is '\(mode.prefix(60))'; accepted is center")
    }
    let interpolation: ImagePreparation.Interpolation? = pretrained.word(
      "interpolation", default: "bicubic", ["bicubic": .bicubic, "bilinear": .bilinear])
    config.problems += pretrained.problems.map { "pretrained_cfg: \($0)" }
    try config.finish()
    let preparation = ImagePreparation(
      size: [shape[1], shape[2]], shorterSide: Int((Double(min(shape[1], shape[2])) / part).rounded(.down)),
      interpolation: interpolation ?? .bicubic, mean: list("mean", [0.485, 0.456, 0.406]),
      standardDeviation: list("std", [0.229, 0.224, 0.225]))
    try config.finish()
    return ForeignModel(
      .timm, name, ModelSpecification(model.architecture, model.options, inputShape: shape, classCount: classes),
      labels: labels, preparation: preparation, notices: config.notices)
  }

  private static func timm(_ name: String) -> TimmModel? {
    if let depth = number(name, after: "resnet"), [18, 34, 50, 101, 152].contains(depth) {
      return TimmModel(architecture: "resnet", options: ["depth": .integer(depth)])
    }
    let isTensorFlow = name.hasPrefix("tf_")
    let plain = isTensorFlow ? String(name.dropFirst(3)) : name
    for (prefix, isLite) in [("efficientnet_lite", true), ("efficientnet_b", false)] {
      guard let number = number(plain, after: prefix), let scale = scales(isLite: isLite)[safe: number] else {
        continue
      }
      return TimmModel(
        architecture: "efficientnet",
        options: [
          "width": .number(scale.width), "depth": .number(scale.depth), "lite": .flag(isLite),
          "padding": .text(isTensorFlow ? "same" : "even"), "epsilon": .number(isTensorFlow ? 1e-3 : 1e-5),
        ], side: scale.side)
    }
    return transformer(plain)
  }

  /// Such as `vit_base_patch16_224` or `deit_tiny_distilled_patch16_224`.
  private static func transformer(_ name: String) -> TimmModel? {
    var parts = name.split(separator: "_").map(String.init)
    guard parts.count >= 4, parts[0] == "vit" || parts[0] == "deit" else { return nil }
    let isDistilled = parts[2] == "distilled" && parts[0] == "deit"
    if isDistilled { parts.remove(at: 2) }
    let sizes: [String: (width: Int, depth: Int, heads: Int)] = [
      "tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16),
    ]
    guard parts.count == 4, let size = sizes[parts[1]], let patch = number(parts[2], after: "patch"),
      let side = Int(parts[3]),
      (1...256).contains(patch), (1...4096).contains(side)
    else { return nil }
    return TimmModel(
      architecture: "vit",
      options: [
        "patch": .integer(patch), "width": .integer(size.width), "depth": .integer(size.depth),
        "heads": .integer(size.heads), "distillation": isDistilled ? "averaged" : "none",
      ], side: side, cropPart: 0.9, pooling: "token")
  }

  private static func scales(isLite: Bool) -> [(width: Double, depth: Double, side: Int)] {
    isLite
      ? [(1, 1, 224), (1, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300), (1.4, 1.8, 380)]
      : [
        (1, 1, 224), (1, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300), (1.4, 1.8, 380), (1.6, 2.2, 456), (1.8, 2.6, 528),
        (2, 3.1, 600),
      ]
  }

  private static func number(_ name: String, after prefix: String) -> Int? {
    guard name.hasPrefix(prefix) else { return nil }
    let rest = name.dropFirst(prefix.count)
    return !rest.isEmpty && rest.allSatisfy(\.isNumber) && rest.count < 5 ? Int(rest) : nil
  }
}

extension Array {
  fileprivate subscript(safe index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
