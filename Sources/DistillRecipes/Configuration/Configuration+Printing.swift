import DistillData
import DistillModels
import Distillation

extension Configuration {
  /// The whole recipe with every default, always in the same order. Reading it gives an equal configuration.
  public var yaml: String { node.yaml }

  /// A part of a recipe that can be told apart from others by its hash.
  public enum Part: String, Sendable, Codable, CaseIterable {
    case data
    case teacher
    case student
    case terms
    case training
    case alone
    case stages
  }

  /// A text that is the same for equal parts, on every machine: 64 hexadecimal digits.
  ///
  /// - Throws: `FileError` when the system's SHA-256 cannot be used.
  public func hash(of parts: [Part]) throws -> String {
    // What a recipe says of the training alone is only what differs; what it is has to be hashed whole.
    let text = parts.map { "\($0.rawValue):\n\(($0 == .alone ? alone.node : node[$0.rawValue] ?? .null).yaml)" }
      .joined()
    return try SHA256.hex(of: text)
  }

  /// Of the whole recipe.
  public var hash: String { get throws { try SHA256.hex(of: yaml) } }

  var node: RecipeNode {
    .map([
      "name": .text(name),
      "description": description.map { .text($0) },
      "seeds": .list(seeds.map { .int($0) }),
      "device": .text(device),
      "threads": .int(threads),
      "parallel": .int(parallel),
      "output": .text(output),
      "compare": .flag(compare),
      "data": data.node,
      "teacher": teacher?.node,
      "student": student.node,
      "terms": .list(terms.map { $0.node(withWeight: alpha == nil) }),
      "alpha": alpha.map { .number($0) },
      "training": training.nodeOfStudent,
      "alone": alone.node(differingFrom: training),
      "stages": stages.isEmpty ? nil : .list(stages.map { $0.node(in: self) }),
      "settings": settings.isEmpty ? nil : .list(settings.map(\.node)),
    ])
  }
}

extension Configuration.Model {
  var node: RecipeNode {
    let entries = options.sorted { $0.key < $1.key }.map {
      RecipeNode.Entry(key: $0.key, keyLocation: nil, value: $0.value.node)
    }
    return RecipeNode(.map([.init(key: "architecture", keyLocation: nil, value: .text(architecture))] + entries))
  }
}

extension OptionValue {
  var node: RecipeNode {
    switch self {
    case .flag(let value): .flag(value)
    case .integer(let value): .int(value)
    case .number(let value): .number(value)
    case .text(let value): .text(value)
    case .integers(let values): .list(values.map { .int($0) })
    case .model(let model): Configuration.Model(architecture: model.architecture, options: model.options).node
    }
  }
}

extension Configuration.Training {
  var node: RecipeNode {
    let (epochs, steps): (RecipeNode?, RecipeNode?) =
      switch length {
      case .epochs(let count): (.int(count), nil)
      case .steps(let count): (nil, .int(count))
      }
    return .map([
      "epochs": epochs,
      "steps": steps,
      "batch_size": .int(batchSize),
      "accumulation": .int(accumulation),
      "precision": .text(choosesPrecision ? "auto" : precision.rawValue),
      "channels_last": choosesChannelsLast ? .text("auto") : .flag(channelsLast),
      "optimizer": optimizer.node,
      "schedule": schedule.node,
      "only": parts.trained.map { .list($0.map { .text($0) }) },
      "freeze": parts.frozen.isEmpty ? nil : .list(parts.frozen.map { .text($0) }),
      "clip_norm": .number(clipNorm),
      "keep": .text(keep.rawValue),
      "metric": .text(metric.rawValue),
      "early_stop": .int(earlyStop),
      "checkpoint_every": checkpointEvery.node,
      "correct_bias": .text(correctBias.rawValue),
      "on_policy": onPolicy?.node,
      "label_smoothing": .number(labelSmoothing),
      "augmentation": augmentation.map { .list($0.map(\.node)) },
    ])
  }

  /// Without the keys that have no place in the training of a distilled student.
  var nodeOfStudent: RecipeNode { node.without(["label_smoothing", "augmentation"]) }

  /// Without those that have none in the training of a teacher.
  var nodeOfTeacher: RecipeNode { node.without(["correct_bias"]) }

  /// What the section `alone` must say, so that it gives this on top of `training`.
  func node(differingFrom training: Self) -> RecipeNode {
    let base = training.nodeOfStudent
    let own = node.without(["epochs", "steps", "batch_size", "accumulation"])
    return RecipeNode(.map((own.entries ?? []).filter { base[$0.key] != $0.value }))
  }
}

extension RecipeNode {
  func without(_ keys: [String]) -> RecipeNode {
    RecipeNode(.map((entries ?? []).filter { !keys.contains($0.key) }), location: location)
  }
}

extension Configuration.CheckpointInterval {
  var node: RecipeNode {
    switch self {
    case .epoch: .text("epoch")
    case .steps(let count): .text("\(count) steps")
    }
  }
}

extension Configuration.Optimizer {
  var node: RecipeNode {
    switch kind {
    case .sgd:
      .map([
        "kind": .text(kind.rawValue), "learning_rate": .number(learningRate), "momentum": .number(momentum),
        "dampening": .number(dampening), "nesterov": .flag(nesterov), "weight_decay": .number(weightDecay),
      ])
    case .adam, .adamw:
      .map([
        "kind": .text(kind.rawValue), "learning_rate": .number(learningRate),
        "betas": .list(betas.map { .number($0) }), "epsilon": .number(epsilon), "amsgrad": .flag(amsgrad),
        "weight_decay": .number(weightDecay),
      ])
    }
  }
}

extension Configuration.Schedule {
  var node: RecipeNode {
    let usesWarmup = kind != .oneCycle
    let dropsRate = kind == .step || kind == .multiStep
    return .map([
      "kind": .text(kind.rawValue),
      "every": kind == .step ? .int(every) : nil,
      "milestones": kind == .multiStep ? .list(milestones.map { .int($0) }) : nil,
      "gamma": dropsRate ? .number(gamma) : nil,
      "minimum": kind == .cosine ? .number(minimum) : nil,
      "climb": kind == .oneCycle ? .number(climb) : nil,
      "divisor": kind == .oneCycle ? .number(divisor) : nil,
      "final_divisor": kind == .oneCycle ? .number(finalDivisor) : nil,
      "warmup": usesWarmup ? .number(warmup) : nil,
      "warmup_from": usesWarmup ? .number(warmupFrom) : nil,
    ])
  }
}

extension Configuration.Setting {
  var node: RecipeNode {
    let set = changes.map { RecipeNode.Entry(key: $0.path, keyLocation: nil, value: $0.value) }
    return .map(["name": .text(name), "set": RecipeNode(.map(set))])
  }
}
