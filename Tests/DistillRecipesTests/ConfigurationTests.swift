import DistillModels
import Distillation
import Foundation
import Testing

@testable import DistillRecipes

/// A recipe that says everything.
private let everything = """
  name: everything
  description: "a: long # one\\nwith two lines, ünïcode ✓ and \\"quotes\\""
  seeds: [5, 7]
  device: cuda:1
  threads: 2
  parallel: 3
  output: runs/here
  compare: yes
  data:
    dataset: folder
    path: data/mine
    image_size: 32
    channels: 1
    validation: 500
    labels: 0.03
    transfer: labelled
    normalize: {mean: [0.5, 1e-3, .5], standard_deviation: [0.2, 0.2, 1]}
    augmentation: [{flip: 0.5}, {crop: 2}, {cutout: 8}, {shift: 2}, {mixup: 0.2}, {cutmix: 1.0}]
    views: 4
  teacher:
    members: [{weights: a}, {weights: b, weight: 2, model: {architecture: resnet-cifar, depth: 56, width: 2}}]
    average: geometric
    precompute: true
  student:
    model: {architecture: convnet, widths: [8, 16], depthwise: on, head: flatten}
    weights: "123"
  terms:
    - soft_targets: {temperature: {from: 8, to: 2, over: cosine}, weight: {from: 1, to: 0.5}, start: 1, end: 10.5}
    - hard_labels: {weight: 0.1, label_smoothing: 0.1}
    - logit_matching: {zero_mean: true}
  training:
    steps: 5_000
    batch_size: 32
    accumulation: 2
    precision: float16
    channels_last: true
    optimizer: {kind: adamw, learning_rate: 1e-3}
    schedule: {kind: multi_step, milestones: [3, 6], warmup: 0.1}
    clip_norm: 1.0
    keep: last
    metric: loss
    early_stop: 5
    checkpoint_every: 500 steps
  alone:
    optimizer: {learning_rate: 2e-3, epsilon: 1e-9}
    schedule: {kind: one_cycle}
    clip_norm: null
    augmentation: [{flip: 0.5}]
  settings:
    - name: few labels
      set: {data.labels: 0.5, "terms[0].soft_targets.temperature": 3}
    - name: as it is

  """

@Suite struct ConfigurationTests {
  @Test func everythingIsRead() throws {
    let read = try Configuration.parse(text: everything)
    #expect(read.description == "a: long # one\nwith two lines, ünïcode ✓ and \"quotes\"")
    #expect(read.seeds == [5, 7])
    #expect(read.device == "cuda:1")
    #expect((read.threads, read.parallel, read.output, read.compare) == (2, 3, "runs/here", true))
    #expect(
      (read.data.dataset, read.data.path, read.data.imageSize, read.data.channels) == ("folder", "data/mine", 32, 1))
    #expect(read.data.validation == .count(500))
    #expect((read.data.labels, read.data.transfer, read.data.views) == (0.03, .labelled, 4))
    #expect(read.data.normalize == .given(mean: [0.5, 0.001, 0.5], standardDeviation: [0.2, 0.2, 1]))
    #expect(read.data.augmentation.map(\.kind) == [.flip, .crop, .cutout, .shift, .mixup, .cutmix])
    #expect(read.data.augmentation.map(\.value) == [0.5, 2, 8, 2, 0.2, 1])
    let teacher = try #require(read.teacher)
    #expect(teacher.isEnsemble)
    #expect(teacher.members.map(\.weights) == ["a", "b"])
    #expect(teacher.members.map(\.weight) == [1, 2])
    #expect(teacher.members[1].model?.options["depth"] == .integer(56))
    #expect((teacher.average, teacher.precompute, teacher.training) == (.geometric, .always, nil))
    #expect(read.student.model?.options["widths"] == .integers([8, 16]))
    #expect(read.student.model?.options["depthwise"] == .flag(true))
    #expect(read.student.weights == "123")
    #expect(
      read.terms == [
        .init(
          SoftTargets.kind, ["temperature": .ramp(Ramp(from: 8, to: 2, shape: .cosine))],
          weight: Ramp(from: 1, to: 0.5), start: 1, end: 10.5),
        .init(HardLabels.kind, ["label_smoothing": .number(0.1)], weight: 0.1),
        .init(LogitMatching.kind, ["zero_mean": .flag(true)]),
      ])
    #expect(read.alpha == nil)
    let training = read.training
    #expect(training.length == .steps(5000))
    #expect((training.batchSize, training.accumulation, training.precision) == (32, 2, .float16))
    #expect((training.channelsLast, training.clipNorm, training.keep, training.metric) == (true, 1, .last, .loss))
    #expect((training.earlyStop, training.checkpointEvery) == (5, .steps(500)))
    #expect(
      (training.schedule.kind, training.schedule.milestones, training.schedule.warmup) == (.multiStep, [3, 6], 0.1))
    #expect(read.alone.clipNorm == nil)
    #expect(read.alone.augmentation == [.init(.flip, 0.5)])
    #expect(read.alone.length == .steps(5000))
    #expect(read.settings.map(\.name) == ["few labels", "as it is"])
  }

  @Test(arguments: [base, everything, RecipeTemplate.text(), base + "alpha: 0.3\n"])
  func whatIsPrintedReadsBackEqual(_ text: String) throws {
    let first = try Configuration.parse(text: text)
    let second = try Configuration.parse(text: first.yaml, fileName: "printed.yaml")
    #expect(second == first)
    #expect(second.yaml == first.yaml)
    #expect(try second.hash == first.hash)
    #expect(second.terms == first.terms)
    #expect(second.training == first.training)
    #expect(second.alone == first.alone)
    #expect(second.data == first.data)
    #expect(second.teacher == first.teacher)
    #expect(second.student == first.student)
    let decoded = try JSONDecoder().decode(Configuration.self, from: JSONEncoder().encode(first))
    #expect(decoded.training == first.training)
    #expect(decoded.terms == first.terms)
    #expect(decoded.data == first.data)
  }

  /// A map says what a number does, and more; what is as usual is printed as the number.
  @Test func augmentationsHaveFurtherOptions() throws {
    func read(_ text: String) throws -> (read: [Configuration.Augmentation], printed: String?) {
      let configuration = try Configuration.parse(
        text: base.replacing("dataset: digits", with: "dataset: digits\n  augmentation: \(text)"))
      let again = try Configuration.parse(text: configuration.yaml)
      #expect(again.data.augmentation == configuration.data.augmentation)
      return (configuration.data.augmentation, configuration.node.node(at: "data.augmentation")?.flow)
    }
    let given = try read("[{cutout: {size: 8, probability: 0.5}}, {shift: {pixels: 2, fill: edge}}, {flip: 0.25}]")
    #expect(given.read == [.init(.cutout, 8, probability: 0.5), .init(.shift, 2, fill: .edge), .init(.flip, 0.25)])
    #expect(
      given.read.augmentation.steps == [
        .cutout(size: 8, probability: 0.5), .shift(pixels: 2, fill: .edge), .horizontalFlip(probability: 0.25),
      ])
    #expect(
      given.printed == "[{cutout: {size: 8, probability: 0.5}}, {shift: {pixels: 2, fill: edge}}, {flip: 0.25}]")
    let usual = try read("[{cutout: {size: 8}}, {shift: {pixels: 2, fill: zero}}, {mixup: {alpha: 0.2}}]")
    #expect(usual.read == [.init(.cutout, 8), .init(.shift, 2), .init(.mixup, 0.2)])
    #expect(usual.printed == "[{cutout: 8}, {shift: 2}, {mixup: 0.2}]")
    #expect(
      try read("[{crop: 2}, {crop: {pixels: 2}}, {flip: {probability: 0.5}}, {cutmix: {alpha: 1}}]").read
        == [.init(.crop, 2), .init(.crop, 2), .init(.flip, 0.5), .init(.cutmix, 1)])
  }

  @Test func rampsOfSeveralPointsAreReadAndPrinted() throws {
    func read(_ weight: String) throws -> (Ramp, String?) {
      let configuration = try Configuration.parse(text: base + "terms: [soft_targets: {weight: \(weight)}]\n")
      #expect(try Configuration.parse(text: configuration.yaml).terms == configuration.terms)
      return (configuration.terms[0].weight, configuration.node.node(at: "terms[0].soft_targets.weight")?.flow)
    }
    let points = [Ramp.Point(at: 0, 1), Ramp.Point(at: 0.5, 4), Ramp.Point(at: 1, 2)]
    for shape in Ramp.Shape.allCases {
      let text = "{points: {0: 1, 0.5: 4, 1: 2}, over: \(shape.rawValue)}"
      let (ramp, printed) = try read(text)
      #expect(try ramp == Ramp(points, shape: shape))
      #expect(printed == text)
    }
    #expect(try read("{points: {0: 8, 1: 2}}").1 == "{from: 8, to: 2, over: linear}")
    #expect(try read("{points: {0.5: 3}}").1 == "3")
    #expect(try read("{points: {0: 8, 1: 2}, over: step}").1 == "{points: {0: 8, 1: 2}, over: step}")
  }

  /// The table of keys, the program's defaults and the printed recipe say the same.
  @Test func theTableStatesTheDefaultsThatHold() throws {
    // Keys that are there only where they mean something are seen in recipes where they do.
    let nodes = try [
      base, base.replacing("architecture: mlp}", with: "architecture: mlp}\n  classifier: teacher"),
      base.replacing("dataset: digits", with: "dataset: labelled-text\n  path: ."),
      base.replacing("dataset: digits", with: "dataset: csv\n  path: .\n  munge: {}"),
      base.replacing("dataset: digits", with: "dataset: text\n  path: .\n  teacher_text: {}")
        .replacing("architecture: mlp}", with: "architecture: decoder}") + "training: {on_policy: {}}\n",
    ].map { try Configuration.parse(text: $0).node }
    var checked = 0
    for key in RecipeReference.keys {
      guard let stated = key.default else { continue }
      if key.path.hasPrefix("teacher.") || key.path.contains("[]") { continue }
      let found = nodes.compactMap { $0.node(at: key.path)?.flow }
      if !found.contains(stated) {
        // What is not printed where it is the default: to write it changes nothing.
        let written = try Configuration.parse(text: base, overrides: ["\(key.path)=\(stated)"])
        #expect(try written == Configuration.parse(text: base), "\(key.path)")
      }
      checked += 1
    }
    #expect(checked >= 30)
    // Every term there is, with what it requires and nothing else.
    let places = TermCatalog.kinds.enumerated().map { index, kind in
      let required = kind.options.filter(\.isRequired).map { "\($0.name): [a, b]" }
      return (kind.name, "  - \(kind.name): {\((["weight: 1"] + required).joined(separator: ", "))}\n", index)
    }
    let terms = "terms:\n" + places.map(\.1).joined()
    let full = try Configuration.parse(text: base + terms).node
    for key in RecipeReference.termKeys {
      guard let stated = key.default,
        let index = places.first(where: { key.path.hasPrefix("terms[].\($0.0).") })?.2
      else { continue }
      #expect(full.node(at: key.path.replacing("[]", with: "[\(index)]"))?.flow == stated, "\(key.path)")
    }
  }

  /// No printed key is missing in the table: but for the options of models, which the architectures list.
  @Test func theTableHasEveryKey() throws {
    func paths(_ node: RecipeNode, _ path: String) -> [String] {
      switch node.content {
      case .scalar: [path]
      case .list(let items):
        items.isEmpty || items[0].entries == nil ? [path] : items.flatMap { paths($0, path + "[]") }
      case .map(let entries):
        entries.isEmpty
          ? [path]
          : entries.flatMap { entry in
            paths(entry.value, path.isEmpty ? entry.key : "\(path).\(entry.key)")
          }
      }
    }
    let known = Set((RecipeReference.keys + RecipeReference.termKeys).map(\.path))
    for text in [everything, RecipeTemplate.text()] {
      for path in paths(try Configuration.parse(text: text).node, "") {
        let general = RecipeReference.path(of: path)
        if general.contains(".model.") || general.hasPrefix("settings[].set.") { continue }
        let isKnown =
          known.contains(general) || known.contains(general.replacing("teacher.training.", with: "alone."))
          || ["temperature", "weight", "normalize", "augmentation[]"].contains { general.contains(".\($0).") }
        #expect(isKnown, "\(general)")
      }
    }
  }

  @Test func withoutWeightsAPairIsAWeightedAverage() throws {
    let standard = try Configuration.parse(text: base)
    #expect(standard.alpha == 0.9)
    #expect(standard.terms.map(\.name) == ["soft_targets", "hard_labels"])
    #expect(standard.terms.map(\.weight) == [0.9, 0.1])
    let swapped = try Configuration.parse(text: base + "terms: [hard_labels, logit_matching]\nalpha: 0.25\n")
    #expect(swapped.terms.map(\.weight) == [0.75, 0.25])
    let three = try Configuration.parse(text: base + "terms: [hard_labels, logit_matching, soft_targets]\n")
    #expect(three.alpha == nil)
    #expect(three.terms.map(\.weight) == [1, 1, 1])
    let weighted = try Configuration.parse(text: base + "terms: [hard_labels: {weight: 2}, soft_targets: {}]\n")
    #expect(weighted.alpha == nil)
    #expect(weighted.terms.map(\.weight) == [2, 1])
  }

  @Test func anOptimizerWithItsKindHasPyTorchsDefaults() throws {
    func optimizer(_ text: String) throws -> Configuration.Optimizer {
      try Configuration.parse(text: base + "training: {optimizer: \(text)}\n").training.optimizer
    }
    let ours = try Configuration.parse(text: base).training.optimizer
    #expect(
      (ours.kind, ours.learningRate, ours.momentum, ours.nesterov, ours.weightDecay) == (.sgd, 0.1, 0.9, true, 5e-4))
    var faster = ours
    faster.learningRate = 0.2
    #expect(try optimizer("{learning_rate: 0.2}") == faster)
    let plain = try optimizer("{kind: sgd}")
    #expect((plain.learningRate, plain.momentum, plain.nesterov, plain.weightDecay) == (1e-3, 0, false, 0))
    let adam = try optimizer("{kind: adam}")
    #expect((adam.learningRate, adam.betas, adam.epsilon, adam.weightDecay) == (1e-3, [0.9, 0.999], 1e-8, 0))
    #expect(try optimizer("{kind: adamw}").weightDecay == 0.01)
  }

  @Test func aTeachersTrainingAndAloneStartFromTheStudents() throws {
    let text = """
      data: {dataset: digits}
      teacher: {model: {architecture: mlp}, training: {epochs: 7, optimizer: {momentum: 0.8}}}
      student: {model: {architecture: mlp}}
      terms: [soft_targets, hard_labels: {label_smoothing: 0.05}]
      training: {steps: 300, batch_size: 32, optimizer: {learning_rate: 0.3}}
      alone: {optimizer: {kind: adam}}

      """
    let read = try Configuration.parse(text: text)
    let teacher = try #require(read.teacher?.training)
    #expect(teacher.length == .epochs(7))
    #expect(teacher.batchSize == 32)
    #expect((teacher.optimizer.learningRate, teacher.optimizer.momentum) == (0.3, 0.8))
    #expect(teacher.labelSmoothing == 0)
    #expect(read.alone.length == .steps(300))
    #expect(read.alone.optimizer == Configuration.Optimizer(.adam))
    #expect(read.alone.labelSmoothing == 0.05)
  }

  @Test func theBestIsKeptWhereThereIsSomethingToChooseBy() throws {
    #expect(try Configuration.parse(text: base).training.keep == .best)
    let without = try Configuration.parse(text: base, overrides: ["data.validation=0"])
    #expect((without.training.keep, without.alone.keep) == (.last, .last))
    #expect(without.data.validation.isNone)
    #expect(Configuration.Amount.fraction(0.1).count(of: 55) == 6)
    #expect(Configuration.Amount.count(100).count(of: 55) == 55)
  }

  @Test(arguments: [
    ("1e-3", 0.001), ("1E-3", 0.001), (".5", 0.5), ("5.", 5), ("1_000.5", 1000.5), ("+2", 2), ("5.0e-4", 5e-4),
  ])
  func numbersInEveryForm(_ text: String, _ value: Double) throws {
    #expect(try Configuration.parse(text: base, overrides: ["training.clip_norm=\(text)"]).training.clipNorm == value)
  }

  @Test(arguments: ["0x10", "1:30", "nan", ".nan", "-.inf", "1e999", "1e", "ten", "[1]", "{a: 1}", "true"])
  func whatIsNoNumber(_ text: String) throws {
    #expect(throws: RecipeError.self) { try Configuration.parse(text: base, overrides: ["training.clip_norm=\(text)"]) }
  }

  @Test func anchorsAndMergedMaps() throws {
    let text = """
      data: {dataset: digits}
      teacher: {model: &big {architecture: mlp, hidden: 30, dropout: 0.1}, training: &how {epochs: 3}}
      student: {model: {<<: *big, dropout: 0.5}}
      training: *how

      """
    let read = try Configuration.parse(text: text)
    #expect(read.student.model?.options["hidden"] == .integers([30]))
    #expect(read.student.model?.options["dropout"] == .number(0.5))
    #expect(read.training.length == .epochs(3))
  }

  @Test func theHomeFolder() throws {
    let home = FileManager.default.homeDirectoryForCurrentUser.path
    let read = try Configuration.parse(text: base, overrides: ["output=~/runs", "teacher.weights=~x"])
    #expect(read.output == "\(home)/runs")
    #expect(read.teacher?.members.first?.weights == "~x")
  }

  @Test func hashesTellPartsApart() throws {
    let first = try Configuration.parse(text: base)
    let again = try Configuration.parse(text: "name: other\n# a remark\n" + base)
    #expect(try first.hash(of: [.data, .student]) == again.hash(of: [.data, .student]))
    #expect(try first.hash != again.hash)
    let other = try Configuration.parse(text: base, overrides: ["data.labels=0.5"])
    #expect(try first.hash(of: [.data]) != other.hash(of: [.data]))
    #expect(try first.hash(of: [.teacher, .training]) == other.hash(of: [.teacher, .training]))
    // SHA-256 of "student:\nmodel: {architecture: mlp, dropout: 0, hidden: [1200, 1200], input_dropout: 0}\n"
    #expect(try first.hash(of: [.student]) == "cdc5781bed0ad07209052e51c3f766b66aef20c0ac3064314d7ed089bb974853")
  }

  /// A recipe says of the training alone only what differs from the other one; it is another training all the same.
  @Test func theHashOfTheTrainingAloneHoldsWhatItSharesWithTheOther() throws {
    let slow = try Configuration.parse(text: base, overrides: ["training.optimizer.learning_rate=0.01"])
    let fast = try Configuration.parse(text: base, overrides: ["training.optimizer.learning_rate=0.1"])
    #expect(slow.alone != fast.alone)
    #expect(try slow.hash(of: [.alone]) != fast.hash(of: [.alone]))
  }
}

@Suite struct ConfigurationOverrideTests {
  private func parse(_ overrides: String..., adding text: String = "") throws -> Configuration {
    try Configuration.parse(text: base + text, overrides: overrides)
  }

  @Test func keysAreChangedAndAdded() throws {
    let read = try parse("training.epochs=40", "name=a=b", "training.optimizer.learning_rate=5e-2", "device = mps")
    #expect(read.training.length == .epochs(40))
    #expect(read.name == "a=b")
    #expect((read.training.optimizer.learningRate, read.training.optimizer.momentum) == (0.05, 0.9))
    #expect(read.device == "mps")
  }

  @Test func theLastOneWins() throws {
    #expect(try parse("parallel=2", "parallel=5").parallel == 5)
  }

  @Test func listsAndMapsAreValuesToo() throws {
    let read = try parse("seeds=[4, 5]", "data.augmentation=[{flip: 0.5}]", "student.model={architecture: convnet}")
    #expect(read.seeds == [4, 5])
    #expect(read.data.augmentation == [.init(.flip, 0.5)])
    #expect(read.student.model?.architecture == "convnet")
  }

  @Test(arguments: ["terms.0.soft_targets.temperature=2", "terms[0].soft_targets.temperature=2"])
  func itemsOfLists(_ argument: String) throws {
    let given = try parse(argument, adding: "terms:\n  - soft_targets: {temperature: 8}\n  - hard_labels\n")
    #expect(given.terms.first?.options["temperature"] == .ramp(2))
    let standard = try parse(argument)
    #expect(standard.terms.first?.options["temperature"] == .ramp(2))
    #expect(standard.terms.count == 2)
    #expect(standard.alpha == 0.9)
  }

  @Test func anEmptyOptionIsMadeAMap() throws {
    let read = try parse(
      "terms.1.hard_labels.label_smoothing=0.1", adding: "terms:\n  - soft_targets:\n  - hard_labels:\n")
    #expect(read.terms.last?.options["label_smoothing"] == .number(0.1))
  }

  @Test func oneOfTwoAlternativesTakesTheOthersPlace() throws {
    #expect(try parse("training.steps=500", adding: "training: {epochs: 3}\n").training.length == .steps(500))
    #expect(try parse("seed=9", adding: "seeds: [1, 2]\n").seeds == [9])
  }

  @Test func nullAndNothingSwitchOff() throws {
    #expect(try parse("training.clip_norm=null", adding: "training: {clip_norm: 1}\n").training.clipNorm == nil)
    #expect(try parse("training.clip_norm=", adding: "training: {clip_norm: 1}\n").training.clipNorm == nil)
  }

  @Test func everyArgumentWithAProblemIsNamed() throws {
    let error = try #require(throws: RecipeError.self) { try parse("parallel=0", "nothing", "student.modle=3") }
    #expect(
      error.problems.map(\.file) == ["argument 'nothing'", "argument 'parallel=0'", "argument 'student.modle=3'"])
    #expect(error.problems.allSatisfy { $0.line == nil })
  }
}

@Suite struct ConfigurationSettingTests {
  private let text =
    base + """
      terms:
        - soft_targets: {temperature: 4}
        - hard_labels
      training: {epochs: 3}
      settings:
        - name: few labels
          set: {data.labels: 0.03, training.steps: 100, terms.0.soft_targets.temperature: 2}
        - name: all labels

      """

  @Test func aSettingChangesTheRecipe() throws {
    let read = try Configuration.parse(text: text)
    let few = try read.resolved(setting: "few labels")
    #expect(few.data.labels == 0.03)
    #expect(few.training.length == .steps(100))
    #expect(few.alone.length == .steps(100))
    #expect(few.terms.first?.options["temperature"] == .ramp(2))
    #expect(few.settings.isEmpty)
    #expect(few.name == read.name)
    let all = try read.resolved(setting: "all labels")
    #expect(all.data == read.data)
    #expect(all.training == read.training)
    #expect(try read.resolvedSettings().map(\.name) == ["few labels", "all labels"])
    #expect(read.settings[0].changes.map(\.path).first == "data.labels")
  }

  @Test func whatTheProgramChangedHoldsInSettingsToo() throws {
    var read = try Configuration.parse(text: text)
    read.seeds = [42]
    read.training.batchSize = 16
    let few = try read.resolved(setting: "few labels")
    #expect(few.seeds == [42])
    #expect(few.training.batchSize == 16)
    #expect(few.data.labels == 0.03)
  }

  @Test func argumentsReachTheSettings() throws {
    let read = try Configuration.parse(text: text, overrides: ["training.batch_size=8"])
    #expect(try read.resolved(setting: "few labels").training.batchSize == 8)
  }

  @Test func settingsSurvivePrinting() throws {
    let read = try Configuration.parse(text: text)
    let again = try Configuration.parse(text: read.yaml)
    #expect(try again.resolved(setting: "few labels") == read.resolved(setting: "few labels"))
  }

  @Test("Trap 23: settings compare temperatures, each in trainings of its own")
  func temperaturesAreCompared() throws {
    let temperatures = [1.0, 2, 8]
    let settings = temperatures.map { "  - {name: T = \($0), set: {\"terms[0].soft_targets.temperature\": \($0)}}" }
    let read = try Configuration.parse(
      text: """
        data: {dataset: digits}
        teacher: {weights: teacher}
        student: {model: {architecture: mlp, hidden: [8]}}
        terms: [{soft_targets: {temperature: 4}}]
        settings:
        \(settings.joined(separator: "\n"))
        """)
    let found = try read.resolvedSettings().map { $0.configuration.terms.map(\.highestTemperature) }
    #expect(found == temperatures.map { [$0] })
  }

  @Test func anUnknownSettingIsNamed() throws {
    let read = try Configuration.parse(text: text)
    let error = try #require(throws: RecipeError.self) { try read.resolved(setting: "none") }
    #expect(
      error.description
        == "recipe: error: the recipe has no setting 'none'; it has 'few labels', 'all labels'")
    #expect(try Configuration.parse(text: base).resolvedSettings().map(\.name) == [nil])
  }
}

@Suite struct RecipeTemplateTests {
  @Test func itHasNoProblems() throws {
    let read = try Configuration.parse(text: RecipeTemplate.text())
    #expect(read.warnings.isEmpty)
    #expect(read.name == "digits")
    #expect(read.compare)
    #expect(read.seeds.count >= 3)
  }

  @Test func nameAndDatasetCanBeChosen() throws {
    let read = try Configuration.parse(text: RecipeTemplate.text(name: "a: b", dataset: "fashion-mnist"))
    #expect((read.name, read.data.dataset) == ("a: b", "fashion-mnist"))
  }

  @Test func everyKeyIsInIt() {
    let text = RecipeTemplate.text()
    for key in RecipeReference.keys {
      #expect(text.contains("\(key.name.replacing("[]", with: "")):"), "\(key.path)")
    }
  }

  @Test func everyLineThatIsCommentedOutIsGood() throws {
    // Each commented line that is a key, alone put back in force, must give a recipe without errors or one whose only
    // error is that two alternatives are both there, or that a data set of one's own is meant.
    let lines = RecipeTemplate.text().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var tried = 0
    for (index, line) in lines.enumerated() {
      guard let match = line.firstMatch(of: /^( *)# ([a-z_]+: *[^ ].*)$/), line.contains("#"),
        RecipeReference.keys.contains(where: { $0.name == match.2.prefix { $0 != ":" } })
      else { continue }
      var changed = lines
      changed[index] = "\(match.1)\(match.2)"
      tried += 1
      do {
        _ = try Configuration.parse(text: changed.joined(separator: "\n"))
      } catch let error as RecipeError {
        let allowed = [
          "is for texts", "makes rows of tables", "is of no use without", "both there", "there twice",
          "is for the dataset", "needs", "float16",
        ]
        #expect(
          error.problems.allSatisfy { problem in allowed.contains { problem.message.contains($0) } },
          "\(match.2): \(error)")
      }
    }
    #expect(tried >= 25)
  }
}
