import Distillation

extension Configuration.Training {
  /// Whose training a section describes.
  enum Role {
    case student
    case teacher
    case alone
  }

  /// What holds where a recipe says nothing.
  static let standard: Self = {
    var optimizer = Configuration.Optimizer(.sgd)
    optimizer.learningRate = 0.1
    optimizer.momentum = 0.9
    optimizer.nesterov = true
    optimizer.weightDecay = 5e-4
    return Self(
      length: .epochs(20), batchSize: 128, accumulation: 1, precision: .float32, channelsLast: false,
      choosesPrecision: true, choosesChannelsLast: true, optimizer: optimizer,
      schedule: Configuration.Schedule(.cosine), parts: .all, clipNorm: nil, keep: .best, metric: .accuracy,
      earlyStop: nil, checkpointEvery: .epoch, labelSmoothing: 0, augmentation: nil, correctBias: .none,
      onPolicy: nil)
  }()

  /// - Parameter base: what holds for the keys that the section does not have
  init(_ map: RecipeMap?, base: Self, role: Role, device: String) {
    self = base
    // Another model has other parts.
    if role == .teacher { parts = .all }
    // A teacher sees all classes, and a student alone has no teacher to go by.
    if role == .teacher || (role == .alone && correctBias == .prior) { correctBias = .none }
    // Nobody says anything of what they would write.
    if role != .student { onPolicy = nil }
    guard let map else { return }
    switch role {
    case .student, .teacher: readBudget(map)
    case .alone:
      for key in ["epochs", "steps", "batch_size", "accumulation"] {
        map.refuse(
          key, "the student alone has the same budget, so alone.\(key) cannot differ",
          hint: "change training.\(key)")
      }
    }
    readComputation(map)
    optimizer = Configuration.Optimizer(map.section("optimizer", isOptional: true), base: base.optimizer)
    schedule = Configuration.Schedule(map.section("schedule", isOptional: true), base: base.schedule)
    parts.trained = map.optional("only", base: parts.trained) { $0.texts() }
    parts.frozen = map.optional("freeze", base: parts.frozen) { $0.texts() } ?? []
    clipNorm = map.optional("clip_norm", base: base.clipNorm) { $0.number(.positive) }
    keep = map.choice("keep") ?? base.keep
    metric = map.choice("metric") ?? base.metric
    earlyStop = map.optional("early_stop", base: base.earlyStop) { $0.int(.atLeast(1)) }
    checkpointEvery = map.value("checkpoint_every").flatMap(Self.readInterval) ?? base.checkpointEvery
    if role == .teacher {
      map.refuse(
        "correct_bias", "\(map.path(to: "correct_bias")) has no effect: a teacher sees all classes",
        hint: "it is for the student: training.correct_bias")
    } else {
      correctBias = map.choice("correct_bias") ?? correctBias
      if role == .alone, correctBias == .prior {
        map.reportValue(
          "correct_bias", "the student alone has no teacher whose prediction could be the prior",
          hint: "correct_bias: labels, or none")
        correctBias = .none
      }
    }
    if role == .student {
      onPolicy = map.optional("on_policy", base: base.onPolicy) { Configuration.OwnText.read($0) }
    } else {
      map.refuse(
        "on_policy", "\(map.path(to: "on_policy")) has no effect: there is no teacher to ask about what is written",
        hint: "it is for the distilled student: training.on_policy")
    }
    if role == .student {
      map.refuse(
        "label_smoothing", "training.label_smoothing has no effect on a distilled student",
        hint: "set it in the term: '- hard_labels: {label_smoothing: ...}'")
      map.refuse(
        "augmentation", "training.augmentation has no effect on a distilled student",
        hint: "set data.augmentation: teacher and student see the same")
    } else {
      labelSmoothing = map.number("label_smoothing", .fractionBelowOne) ?? base.labelSmoothing
      augmentation = map.optional("augmentation", base: base.augmentation) { Configuration.Augmentation.read($0) }
    }
    map.finish()
    if precision == .float16, !device.hasPrefix("cuda") {
      map.reportValue(
        "precision", "float16 is for cuda, and the device is \(device)", hint: "use bfloat16 or float32")
    }
  }

  private static let automatic = "auto"

  private mutating func readComputation(_ map: RecipeMap) {
    if let reader = map.value("precision"),
      let name = reader.choice(of: [Self.automatic] + Precision.allCases.map(\.rawValue))
    {
      choosesPrecision = name == Self.automatic
      precision = Precision(rawValue: name) ?? .float32
    }
    if let reader = map.value("channels_last") {
      if case .scalar(Self.automatic, _) = reader.node.content {
        choosesChannelsLast = true
        channelsLast = false
      } else if let flag = reader.flag() {
        choosesChannelsLast = false
        channelsLast = flag
      }
    }
  }

  private mutating func readBudget(_ map: RecipeMap) {
    let epochs = map.value("epochs")
    let steps = map.value("steps")
    if epochs != nil, steps != nil {
      map.report(
        "steps", "\(map.path(to: "epochs")) and \(map.path(to: "steps")) are both there", hint: "keep one of them")
    } else if let epochs {
      length = epochs.int(.from(1, to: 1_000_000)).map { .epochs($0) } ?? length
    } else if let steps {
      length = steps.int(.from(1, to: 1_000_000_000)).map { .steps($0) } ?? length
    }
    batchSize = map.int("batch_size", .from(1, to: 1_000_000)) ?? batchSize
    accumulation = map.int("accumulation", .from(1, to: 10_000)) ?? accumulation
  }

  private static func readInterval(_ reader: RecipeReader) -> Configuration.CheckpointInterval? {
    guard case .scalar(let text, _) = reader.node.content else {
      reader.reportMismatch("'epoch', or a number of steps such as '500 steps'")
      return nil
    }
    if text == "epoch" { return .epoch }
    let parts = text.split(separator: " ")
    if let first = parts.first, let count = Int(first), count > 0, parts.count == 1 || parts[1...] == ["steps"] {
      return .steps(count)
    }
    reader.reportMismatch("'epoch', or a number of steps such as '500 steps'")
    return nil
  }
}

extension Configuration.Optimizer {
  /// With `kind` the options not given are PyTorch's, without it those of `base`.
  init(_ map: RecipeMap?, base: Self) {
    self = base
    guard let map else { return }
    if let kind: Kind = map.choice("kind") { self = Self(kind) }
    learningRate = map.number("learning_rate", .positive) ?? learningRate
    weightDecay = map.number("weight_decay", .notNegative) ?? weightDecay
    switch kind {
    case .sgd:
      momentum = map.number("momentum", .fractionBelowOne) ?? momentum
      dampening = map.number("dampening", .fraction) ?? dampening
      nesterov = map.flag("nesterov") ?? nesterov
      if nesterov, momentum == 0 || dampening != 0 {
        map.report(
          map.contains("nesterov") ? "nesterov" : "momentum",
          "\(map.path(to: "nesterov")) needs a momentum above 0 and no dampening",
          hint: "set momentum: 0.9, or nesterov: false")
      }
    case .adam, .adamw:
      if let reader = map.value("betas"), let given = reader.numbers(.fractionBelowOne) {
        if given.count == 2 {
          betas = given
        } else {
          reader.report(
            "\(reader.path) must be two numbers, but there are \(given.count)", hint: "such as [0.9, 0.999]")
        }
      }
      epsilon = map.number("epsilon", .positive) ?? epsilon
      amsgrad = map.flag("amsgrad") ?? amsgrad
    }
    map.finish()
  }
}

extension Configuration.Schedule {
  /// With `kind` the options not given have their defaults, without it those of `base`.
  init(_ map: RecipeMap?, base: Self) {
    self = base
    guard let map else { return }
    if let kind: Kind = map.choice("kind") { self = Self(kind) }
    if kind != .oneCycle {
      warmup = map.number("warmup", .fractionBelowOne) ?? warmup
      warmupFrom = map.number("warmup_from", .fraction) ?? warmupFrom
    }
    switch kind {
    case .constant: break
    case .step:
      every = map.int("every", .atLeast(1)) ?? every
      gamma = map.number("gamma", .positive) ?? gamma
    case .multiStep:
      readMilestones(map)
      gamma = map.number("gamma", .positive) ?? gamma
    case .cosine: minimum = map.number("minimum", .fraction) ?? minimum
    case .oneCycle:
      climb = map.number("climb", NumberRange(lower: 0, isLowerOpen: true, upper: 1, isUpperOpen: true)) ?? climb
      divisor = map.number("divisor", .atLeast(1)) ?? divisor
      finalDivisor = map.number("final_divisor", .atLeast(1)) ?? finalDivisor
    }
    map.finish()
  }

  private mutating func readMilestones(_ map: RecipeMap) {
    guard map.value("milestones") != nil || milestones.isEmpty else { return }
    guard let reader = map.required("milestones", hint: "the epochs in which the rate drops, such as [30, 60]"),
      let given = reader.ints(.atLeast(1))
    else { return }
    if given.isEmpty || given != Array(Set(given)).sorted() {
      reader.report("\(reader.path) must be rising epochs, such as [30, 60]")
    } else {
      milestones = given
    }
  }
}
