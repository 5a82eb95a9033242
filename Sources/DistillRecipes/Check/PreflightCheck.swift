import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// Goes through a recipe and gathers what it finds. What one check needs and an earlier one did not get is left out.
final class PreflightCheck {
  private(set) var configuration: Configuration
  let folder: RunFolder
  let observer: RunObserver
  var result = Preflight(findings: [])

  init(_ configuration: Configuration, folder: RunFolder, observer: @escaping RunObserver) {
    self.configuration = configuration
    self.folder = folder
    self.observer = observer
  }

  func good(_ subject: String, _ text: String) { result.findings.append(.init(.good, subject, text)) }
  func warn(_ subject: String, _ text: String) { result.findings.append(.init(.warning, subject, text)) }
  func problem(_ subject: String, _ text: String) {
    // What is wrong with a teacher, say, is wrong with all that is made of it: it is told once.
    guard !result.findings.contains(where: { $0.mark == .problem && $0.text == text }) else { return }
    result.findings.append(Preflight.Finding(.problem, subject, text))
  }

  /// What `body` gives; nil if it fails, which is then a problem.
  func attempt<Value>(_ subject: String, _ body: () throws -> Value) -> Value? {
    do { return try body() } catch {
      problem(subject, "\(error)")
      return nil
    }
  }

  func run() {
    for warning in configuration.warnings { warn("recipe", "\(warning)") }
    guard var settings = attempt("recipe", { try configuration.resolvedSettings() }) else { return }
    checkSettings(settings.map { ($0.name ?? "", $0.configuration) })
    checkFolder()
    let device = checkDevice()
    observer(.stage("Loading \(configuration.data.dataset)"))
    let materials = attempt("data") { try Materials(configuration, observer: observer) }
    guard let materials else {
      checkFiles()
      return
    }
    checkData(materials, settings.map { ($0.name ?? "", $0.configuration) })
    if let device {
      checkPrecision(materials, device)
      checkTeacherPrecision(materials, device)
      settings = attempt("recipe") { try configuration.resolvedSettings() } ?? settings
    }
    // On a machine without the device, everything else can still be looked at.
    let models = ModelCheck(check: self, materials: materials, device: device ?? .cpu)
    models.run(settings.map { ($0.name ?? "", $0.configuration) })
    guard !result.hasProblems, device != nil else { return }
    observer(.stage("Timing a few steps"))
    CostCheck(check: self, materials: materials, models: models).run()
  }

  private func checkSettings(_ settings: [(name: String, configuration: Configuration)]) {
    for text in configuration.problemsOfSettings(settings) { problem("recipe", text) }
    let arms = configuration.compare ? "the student alone and distilled" : "the student distilled"
    let variants = settings.count > 1 ? ", in \(settings.count) settings" : ""
    good(
      "recipe",
      "'\(configuration.name)': \(arms), for \(counted(configuration.seeds.count, "seed"))\(variants)")
  }

  private func checkFolder() {
    guard attempt("run folder", { try folder.checkPlace() }) != nil else { return }
    if folder.exists {
      warn(
        "run folder",
        "\(folder.path) holds a run already. 'distill resume \(folder.path)' goes on with it, "
          + "'distill run ... --overwrite' starts anew")
    } else {
      good("run folder", folder.path)
    }
  }

  private func checkDevice() -> Device? {
    guard let device = attempt("device", { try configuration.availableDevice() }) else { return nil }
    attempt("device") {
      if let threads = configuration.threads { try TorchRuntime.setThreadCount(threads) }
      let threads = try TorchRuntime.threadCount
      let cores = ProcessInfo.processInfo.activeProcessorCount
      good("device", "\(device), \(counted(threads, "thread")) for each training, libtorch \(try TorchRuntime.version)")
      let parallel = configuration.parallel
      if device.kind == .cpu, threads * parallel > cores {
        let advice = parallel > cores ? "parallel=\(cores) threads=1" : "threads=\(max(1, cores / parallel))"
        warn(
          "device",
          "\(counted(parallel, "training")) at a time with \(counted(threads, "thread")) each want "
            + "\(threads * parallel) processors, and there are \(cores): set \(advice)")
      }
    }
    return device
  }

  /// In what the run will compute. Where the recipe leaves that open, it is chosen as the run does it.
  private func checkPrecision(_ materials: Materials, _ device: Device) {
    guard let kept = attempt("precision", { try ChosenPrecisions.read(folder) }) else { return }
    let chooser = PrecisionChooser(configuration: configuration, materials: materials, device: device)
    // What is wrong with the models is told where these are looked at.
    guard let chosen = try? chooser.choose(kept) else { return }
    configuration = configuration.applying(chosen.all)
    for choice in chosen.all.choices {
      let isNew = chosen.new.contains(choice)
      let place = choice.reason != .measured ? "" : isNew ? "; the run times it again" : "; kept in the run folder"
      good("precision", "\(choice.role): \(choice.words)\(place)")
    }
    let training = configuration.training
    if chosen.all.choices.isEmpty {
      let given = Computation(training.precision, channelsLast: training.channelsLast)
      good("precision", "\(given.words), as the recipe says")
    }
    if training.precision == .bfloat16, device.kind == .cpu, (try? Processor.bfloat16)?.isEmpty ?? false {
      warn(
        "precision",
        "this processor has no instructions for bfloat16: it imitates them, slowly. Set training.precision: float32")
    }
  }

  /// In what the teacher will teach, and what that changes about what it says. Of one that is still to be trained nothing
  /// is known; what is wrong with one that is there is told where it is looked at.
  private func checkTeacherPrecision(_ materials: Materials, _ device: Device) {
    guard let teacher = configuration.teacher, !teacher.members.isEmpty else { return }
    observer(.stage("Comparing what the teacher says in cheaper precisions"))
    // One that cannot be read was told before.
    guard let kept = (try? ChosenPrecisions.read(folder))?.teachers else { return }
    let chooser = TeacherPrecisionChooser(
      configuration: configuration, materials: materials, device: device, folder: folder)
    if let (all, new) = try? chooser.choose(kept) {
      var settled = configuration.chosen ?? ChosenPrecisions()
      settled.teachers = all
      configuration = configuration.applying(settled)
      for choice in all where choice.reason == .measured {
        let place = new.contains(choice) ? "the run looks again" : "kept in the run folder"
        good("precision", "\(choice.whose) teaches in \(choice.words); \(place)")
      }
    }
    guard let given = teacher.precision, teacher.cache == nil else { return }
    guard given != .float32 else { return good("precision", "the teacher teaches in float32, as the recipe says") }
    guard
      let maker = try? TeacherMaker(
        teacher, folder: folder, materials: materials, device: device,
        channelsLast: configuration.training.channelsLast)
    else { return good("precision", "the teacher teaches in \(given.rawValue), as the recipe says") }
    attempt("precision") {
      let temperatures = TeacherPrecisionChooser.temperatures(configuration.terms)
      for (name, precision, fidelity) in try maker.fidelities(temperatures: temperatures) {
        let whose = teacher.isEnsemble ? "the teacher's member '\(name)'" : "the teacher"
        let text = "\(whose) teaches in \(precision.rawValue), as the recipe says: \(fidelity.words)"
        if fidelity.isFaithful {
          good("precision", text)
        } else {
          warn("precision", "\(text). That is another teacher: leave teacher.precision out, or set float32")
        }
      }
    }
  }

  /// The files that the recipe names, where there is no data to hold the models against.
  private func checkFiles() {
    for (key, path) in configuration.files where key.hasSuffix("weights") {
      if key == "teacher.weights", configuration.teacher?.training != nil { continue }
      attempt(key.contains("teacher.") ? "teacher" : "student") {
        try located(key.hasPrefix("stages") ? "\(key): " : "") {
          _ = try Checkpoint.readFinite(try ModelSource(path).weights)
        }
      }
    }
  }

  // MARK: Data

  private func checkData(_ materials: Materials, _ settings: [(name: String, configuration: Configuration)]) {
    let (train, test, split) = (materials.train, materials.test, materials.split)
    let shape = train.exampleShape.map(String.init).joined(separator: "×")
    let what =
      configuration.data.text.map { "texts of \($0.length) \($0.token)s, \(train.classCount) tokens" }
      ?? configuration.data.labelledText.map { "texts of \($0.length) tokens at most, \(train.classCount) classes" }
      ?? "inputs \(shape), \(train.classCount) classes"
    good(
      "data",
      "\(train.name): \(Quantity.integer(split.train.count)) examples to train on, "
        + "\(Quantity.integer(split.validation.count)) to choose by, \(Quantity.integer(test.count)) to test on; "
        + what)
    for notice in train.notices + test.notices { warn("data", notice) }
    if test.exampleShape != train.exampleShape {
      problem("data", "the test examples have the shape \(test.exampleShape), those to train on \(train.exampleShape)")
    }
    if test.classCount != train.classCount {
      let message = "the test examples know \(test.classCount) classes, those to train on \(train.classCount)"
      if test.classCount > train.classCount { problem("data", message) } else { warn("data", message) }
    }
    if split.validation.isEmpty {
      warn("data", "no examples are held out to choose by: the weights at the end are kept. Set data.validation: 0.1")
    }
    if !train.predictsTokens { checkBalance(materials) }
    for (name, setting) in settings {
      for (index, stage) in setting.sequence.enumerated()
      where !setting.sequence[..<index].contains(where: { $0.configuration.data == stage.configuration.data }) {
        checkLabels(materials, setting.place(ofStage: index, setting: name), stage.configuration)
      }
    }
    for notice in materials.joined.notices where !train.notices.contains(notice) { warn("data", notice) }
    attempt("data") {
      for index in [0, train.count - 1] where try train.values(at: index).contains(where: { !$0.isFinite }) {
        problem("data", "example \(index) of \(train.name) holds a value that is not a finite number")
      }
    }
    if let normalization = materials.normalization {
      attempt("data") {
        // A loader refuses numbers that do not fit the channels.
        var options = DataLoader.Options(batchSize: 1)
        options.normalization = normalization
        _ = try DataLoader(dataset: train, examples: [split.train[0]], options: options)
      }
    }
  }

  private func checkBalance(_ materials: Materials) {
    let counts = countsByClass(materials, materials.split.train)
    let (smallest, largest) = (counts.min() ?? 0, counts.max() ?? 0)
    let named = counts.indices.filter { counts[$0] == 0 }.map { materials.train.classNames[$0] }
    if !named.isEmpty {
      warn("data", "no example to train on belongs to \(named.prefix(5).joined(separator: ", "))")
    } else if smallest * 10 < largest {
      warn(
        "data",
        "the classes are far from balanced: from \(smallest) to \(largest) examples. Accuracy hides the small ones")
    } else {
      let judgement = smallest * 2 >= largest ? "classes are balanced" : "classes are of unlike sizes"
      good("data", "\(judgement): \(smallest) to \(largest) examples of each to train on")
    }
  }

  /// - Parameter prefix: the setting and the stage, for messages
  private func checkLabels(_ materials: Materials, _ prefix: String, _ setting: Configuration) {
    let examples = attempt("data") {
      try located(prefix) { try materials.examples(setting.data, seed: setting.seeds.first ?? 0) }
    }
    guard let (labelled, transfer) = examples else { return }
    checkTransferSet(materials, prefix, setting, transfer)
    if setting.training.batchSize > transfer.count {
      warn(
        "data",
        "\(prefix)training.batch_size is \(setting.training.batchSize), but an epoch has only \(transfer.count) examples"
      )
    }
    guard setting.data.labels < 1 else { return }
    guard !materials.train.predictsTokens else {
      good("data", "\(prefix)\(labelled.count) of \(transfer.count) texts have labels to learn from")
      return
    }
    let counts = countsByClass(materials, labelled)
    let least = counts.min() ?? 0
    let classes = materials.train.classNames
    let rarest = counts.firstIndex(of: least).map { classes[$0] } ?? ""
    let text = "\(prefix)\(labelled.count) labels to learn from, \(least) of the rarest class"
    if least == 0 {
      warn("data", "\(text): nothing is labelled \(rarest). Raise data.labels")
    } else if least < 5 {
      warn("data", "\(text) (\(rarest)): expect results that differ much from seed to seed")
    } else {
      good("data", text)
    }
  }

  private func countsByClass(_ materials: Materials, _ examples: [Int]) -> [Int] {
    var counts = [Int](repeating: 0, count: materials.train.classCount)
    for example in examples {
      let label = materials.train.label(at: example)
      if counts.indices.contains(label) { counts[label] += 1 }
    }
    return counts
  }
}

extension Configuration {
  /// What settings change although all of them share it.
  func problemsOfSettings(_ settings: [(name: String, configuration: Configuration)]) -> [String] {
    settings.flatMap { name, setting in
      let shared: [(String, Bool)] = [
        ("data.dataset", setting.data.dataset == data.dataset),
        ("data.path", setting.data.path == data.path),
        ("data.image_size", setting.data.imageSize == data.imageSize),
        ("data.shorter_side or data.interpolation", setting.data.fit == data.fit),
        ("data.channels", setting.data.channels == data.channels),
        ("data.label_column", setting.data.labelColumn == data.labelColumn),
        ("data.unit or data.length", setting.data.text == data.text),
        (
          "data.text_column, data.pair_column, data.tokenizer or data.length",
          setting.data.labelledText == data.labelledText
        ),
        ("data.test_fraction", setting.data.testFraction == data.testFraction),
        ("data.validation", setting.data.validation == data.validation),
        ("data.normalize", setting.data.normalize == data.normalize),
        ("teacher", hasTrainedTeacher(setting)),
        ("seeds", setting.seeds == seeds), ("device", setting.device == device),
      ]
      return shared.filter { !$0.1 }.map {
        "the setting '\(name)' changes \($0.0), which is the same for all settings of a run: write a recipe of its own"
      }
    }
  }

  /// Whether a setting has the teacher that the run trains, or none that would have to be trained for it.
  private func hasTrainedTeacher(_ setting: Configuration) -> Bool {
    guard let other = setting.teacher, !other.members.isEmpty else { return true }
    let isTrained = [teacher, other].contains { $0?.training != nil || $0?.specialists != nil }
    return !isTrained
      || (other.training == teacher?.training && other.specialists == teacher?.specialists
        && other.members == teacher?.members)
  }

  /// - Throws: `RunError` when a setting changes what all of them share.
  func checkSettings() throws {
    let problems = problemsOfSettings(try resolvedSettings().map { ($0.name ?? "", $0.configuration) })
    guard problems.isEmpty else { throw RunError(problems.joined(separator: "\n")) }
  }
}

/// Such as `1 seed` or `3 seeds`.
func counted(_ count: Int, _ word: String) -> String { "\(Quantity.integer(count)) \(word)\(count == 1 ? "" : "s")" }

/// `count` of the numbers, spread evenly, so that no class is left out where they are sorted by class.
func spread(_ numbers: [Int], count: Int) -> [Int] {
  guard numbers.count > count, count > 0 else { return numbers }
  return (0..<count).map { numbers[$0 * numbers.count / count] }
}
