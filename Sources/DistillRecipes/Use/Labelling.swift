import DistillData
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// Makes the teacher cache of a recipe: what its teacher says of all examples that trainings may show it, or what another
/// program said of them.
public struct Labelling: Sendable {
  public enum Logits: String, CaseIterable, Sendable {
    case all
    case topK = "top-k"
    case sampled
  }

  public enum NumberType: String, CaseIterable, Sendable {
    case float32, float16, bfloat16

    var dtype: DType {
      switch self {
      case .float32: .float32
      case .float16: .float16
      case .bfloat16: .bfloat16
      }
    }
  }

  /// What is kept.
  public struct Options: Sendable {
    public var logits = Logits.all
    /// Of `topK` and `sampled`, which need it: how many.
    public var count: Int?
    /// nil: float32 for all logits, float16 for others.
    public var type: NumberType?
    /// Paths of layers; nil: those that the recipe's terms look at.
    public var features: [String]?
    /// nil: float16.
    public var featureType: FeatureEncoding?
    /// nil: so many that a shard has about 64 MiB.
    public var rowsPerShard: Int?
    /// Logits of another program, instead of the teacher's.
    public var imported: Import?

    public init() {}

    /// What cannot be done, whatever the recipe is: a sentence for each.
    public var problems: [String] {
      var found: [String] = []
      if let count {
        if logits == .all {
          found.append("--count is of --logits top-k and sampled: with all logits there is nothing to count")
        } else if count < 1 {
          found.append("--count is \(count), and at least one has to be kept")
        }
      } else if logits != .all {
        found.append("--logits \(logits.rawValue) needs --count: how many")
      }
      if let rowsPerShard, rowsPerShard < 1 {
        found.append("--shard-size is \(rowsPerShard), and a shard has at least one row")
      }
      if let features, features.contains("") {
        found.append("--features names layers with commas between them, and one of the names is empty")
      }
      if featureType != nil, imported != nil || features?.isEmpty ?? false {
        found.append("--feature-type is of layers, and none is kept: leave it out")
      }
      if imported != nil, !(features ?? []).isEmpty {
        found.append(
          "--features are layers of a teacher, and a file of --import holds logits alone: leave one of them out")
      }
      return found
    }

    /// - Throws: `RunError` with all problems.
    public static func require(_ problems: [String]) throws {
      guard let first = problems.first else { return }
      throw RunError(
        problems.count == 1
          ? first : "these options cannot be followed:\(problems.map { "\n  - \($0)" }.joined())")
    }
  }

  /// A file of another program.
  public struct Import: Sendable {
    /// A file: .npy, .npz, .safetensors or CSV.
    public var path: String
    /// The array or column with the examples' numbers, or another file with them; nil: `ids` or `id`, or none.
    public var ids: String?
    /// The array with the logits; nil: `logits`, or the only one.
    public var array: String?
    /// Whether they are probabilities, whose logarithms are taken.
    public var areProbabilities: Bool

    public init(path: String, ids: String? = nil, array: String? = nil, areProbabilities: Bool = false) {
      self.path = path
      self.ids = ids
      self.array = array
      self.areProbabilities = areProbabilities
    }
  }

  /// What came out.
  public struct Result: Codable, Sendable {
    /// KL(teacher ‖ kept) at a temperature, in nats.
    public struct Divergence: Codable, Sendable {
      /// T, by which the logits of both are divided.
      public var temperature: Double
      /// Over all examples and views.
      public var mean: Double
      /// Of the example that it is largest for.
      public var maximum: Double
    }

    /// What the precision of the teacher, or of a member of it, changes about what it says.
    public struct PrecisionCost: Codable, Sendable {
      /// The member's name.
      public var member: String
      /// What it was computed in.
      public var precision: TeacherPrecision
      /// How near that is to float32.
      public var fidelity: TeacherFidelity
      /// Both in words.
      public var words: String { "\(precision.rawValue): \(fidelity.words)" }
    }

    /// A model that labelled, or a file of elsewhere.
    public struct Source: Codable, Sendable {
      /// The member's name; a file's of elsewhere.
      public var name: String
      /// The file of its weights; nil where nothing says it, as of a cache that is only looked at.
      public var path: String?
      /// The SHA-256 of that file.
      public var hash: String
    }

    /// The cache's, as it was named.
    public var folder: String
    /// Whose answers these are.
    public var teachers: [Source]
    /// Whether they are of elsewhere.
    public var isImported: Bool
    /// Of a check: true where it was held against a recipe, and fits it; nil where only the cache itself was looked at.
    public var fitsRecipe: Bool?
    /// What the teacher was computed in.
    public var precision: String
    /// Of each member that was not computed in float32, for some examples; empty where nothing was computed.
    public var precisionCosts: [PrecisionCost] = []
    /// How many examples were labelled.
    public var examples: Int
    /// In how many views each.
    public var views: Int
    /// What is kept of each example, in words.
    public var contents: String
    /// The files that rows are divided among.
    public var shards: Int
    /// Those that this process made.
    public var madeShards: Int
    /// What this process took to make them, waiting for others included; 0 of a check.
    public var seconds: Double
    /// What all shards take on disk.
    public var bytes: Int
    /// Of one view of an example.
    public var bytesPerExample: Double
    /// At the temperatures of the recipe's terms; empty where classes were drawn.
    public var divergences: [Divergence]
    /// How often the likeliest class is the teacher's.
    public var topOneAgreement: Double
    /// The mean probability of the classes that were kept.
    public var keptMass: Double
    /// Of each layer: √(Σ (kept − exact)² / Σ exact²).
    public var layerErrors: [Double]
    /// What the teacher took for all examples once: what an epoch with the cache saves.
    public var teacherSecondsPerEpoch: Double
    /// Of logits of elsewhere: how often the likeliest class is the label.
    public var importedAccuracy: Double?
    /// Of logits of elsewhere: what looks odd about them.
    public var importNotes: [String]?
    /// Of logits of elsewhere: rows of examples that no training shows.
    public var unusedRows: Int?
    /// Why the recipe's terms cannot learn from what was kept; nil where nothing speaks against it.
    public var unfitTerms: String?
    /// The largest mean divergence that is not warned of, in nats.
    public static let largestDivergence = 0.01

    /// What should be looked at before a student learns from it.
    public var warnings: [String] {
      var found: [String] = []
      if let unfitTerms { found.append("the recipe's terms cannot learn from it: \(unfitTerms)") }
      if let worst = divergences.max(by: { $0.mean < $1.mean }), worst.mean > Self.largestDivergence {
        found.append(
          "what is kept is \(Quantity.plain(worst.mean)) nats from what the teacher said at temperature "
            + "\(Quantity.plain(worst.temperature)): keep more classes, or all logits")
      }
      for cost in precisionCosts where !cost.fidelity.isFaithful {
        found.append(
          "in \(cost.words) beside float32. That is another teacher: leave teacher.precision out, or set float32")
      }
      found += importNotes ?? []
      if let importedAccuracy, importedAccuracy < 0.5 {
        found.append(
          "the likeliest class is the label for \(Quantity.percent(importedAccuracy)) of the examples: are rows and classes in "
            + "the order of the data?")
      }
      return found
    }

    init(_ cache: TeacherCache) {
      let (description, fidelity) = (cache.description, cache.fidelity)
      folder = cache.folder
      teachers = cache.key.teacher.members.map { Source(name: $0.name, path: nil, hash: $0.weights) }
      isImported = cache.key.teacher.mode == TeacherCache.Key.Teacher.imported
      precision = cache.key.teacher.precision
      examples = description.shards.exampleCount
      views = description.shards.views
      contents =
        "\(description.contents.logits)"
        + description.contents.features.map { ", \($0.path) as \($0.encoding.rawValue)" }.joined()
      shards = description.shards.count
      madeShards = 0
      seconds = 0
      bytes = fidelity.byteCount
      bytesPerExample = fidelity.bytesPerExample
      divergences = fidelity.divergences.map { measured in
        Divergence(
          temperature: measured.temperature, mean: fidelity.meanDivergence(at: measured.temperature) ?? 0,
          maximum: measured.maximum)
      }
      topOneAgreement = fidelity.topOneAgreement
      keptMass = fidelity.meanKeptMass
      layerErrors = fidelity.features.map(\.relative)
      teacherSecondsPerEpoch = fidelity.teacherSeconds / Double(max(1, description.shards.views))
    }
  }

  private let configuration: Configuration
  private let observer: RunObserver

  public init(_ configuration: Configuration, observer: @escaping RunObserver = { _ in }) {
    self.configuration = configuration
    self.observer = observer
  }

  /// Where the cache of a recipe goes.
  public static func folder(of configuration: Configuration) -> String {
    configuration.teacher?.cache ?? "labels/\(configuration.name)"
  }

  /// Labels whatever is missing in a folder, beside any number of other processes.
  ///
  /// - Throws: `RunError`, `TeacherCacheError` that say what does not fit; `RunError` with `.interrupted` when somebody
  ///   asked to stop: finished shards stay.
  public func make(in folder: String, _ options: Options) throws -> Result {
    try Options.require(options.problems)
    try Self.checkPlace(folder, options)
    if options.imported == nil { try checkWeights() }
    var (runner, job) = try prepare()
    let loader = try runner.labelLoader(job, keepsLayers: true)
    guard let views = loader.teacherViews, !loader.options.augmentation.steps.contains(where: \.isMixing) else {
      throw RunError(
        "only inputs that come again can be labelled: give data.views: K, or data.teacher_view: plain, or take out the "
          + "augmentation")
    }
    let materials = runner.materials
    // What cannot be followed is told before the teacher is looked at.
    var request = try labelOptions(options, job, runner)
    let teacher: any Teacher
    let key: TeacherCache.Key.Teacher
    var costs: [Result.PrecisionCost] = []
    var files: [String] = []
    var imported: ImportedLogits?
    if let file = options.imported {
      observer(.stage("Checking \(file.path)"))
      let source = ImportedLogits.Source(
        path: file.path, ids: file.ids, array: file.array, areProbabilities: file.areProbabilities)
      let found = try ImportedLogits(
        source, dataset: materials.joined, examples: loader.examples, viewCount: views)
      teacher = ImportedTeacher(found)
      (imported, files) = (found, [file.path])
      key = TeacherCache.Key.Teacher(
        members: [.init(name: FilePath.name(of: file.path), weights: try SHA256.hex(ofFile: file.path))],
        mode: TeacherCache.Key.Teacher.imported, classCount: materials.train.classCount,
        settings: file.areProbabilities ? ["logits": "logarithms of probabilities"] : [:])
    } else {
      job = try TrainingJob(trialOf: choosingPrecision(runner, job, in: folder), materials: materials)
      guard let maker = try runner.teacherMaker(job) else {
        throw RunError(
          "the recipe has no teacher whose weights could label: give teacher.weights, or logits of elsewhere with --import"
        )
      }
      teacher = try maker.makeTeacher()
      key = try maker.cacheKey()
      files = (maker.members + maker.specialistMembers).map(\.weights)
      costs = try maker.fidelities(temperatures: TeacherPrecisionChooser.temperatures(job.configuration.terms)).map {
        Result.PrecisionCost(member: $0.name, precision: $0.precision, fidelity: $0.fidelity)
      }
    }
    let start = ContinuousClock.now
    let inputs = Quantity.integer(loader.examples.count * views)
    request.begins = { [observer] in observer(.stage("Labelling \(inputs) inputs into \(folder)")) }
    do {
      let done = try TeacherCache.label(
        with: teacher, over: loader, as: key, in: folder, options: request
      ) { progress in
        observer(.fraction(progress.fraction))
        return Interruption.isRequested ? .stop : .continue
      }
      var result = Result(try TeacherCache(folder))
      result.madeShards = done.madeShards
      result.seconds = (ContinuousClock.now - start) / .seconds(1)
      result.precisionCosts = costs
      for index in result.teachers.indices where files.indices.contains(index) {
        result.teachers[index].path = files[index]
      }
      result.unfitTerms = try unfitTerms(folder, runner, job)
      result.importedAccuracy = imported?.accuracy
      result.unusedRows = imported?.unused
      result.importNotes = imported.map(\.notes)
      return result
    } catch is Interrupted {
      throw RunError(
        "interrupted; finished shards stay. The same command goes on with what is left", kind: .interrupted)
    }
  }

  /// - Throws: `RunError` where a file of weights that the recipe names is not there, or the teacher is still to be trained.
  private func checkWeights() throws {
    guard let teacher = configuration.teacher else { return }
    for case let path? in teacher.members.map(\.weights) where !FileManager.default.fileExists(atPath: path) {
      throw RunError(
        "the teacher's weights: \(path) does not exist\(whereLookedFor(path))"
          + (teacher.training == nil ? "" : ". Leave teacher.weights out for the teacher that the recipe trains itself")
      )
    }
    let trained = RunFolder(configuration.outputFolder).teacher
    guard !teacher.isToBeTrained || ModelFolder(trained).exists else {
      throw RunError(
        "the recipe trains its teacher itself, and \(trained) does not hold it yet: do that first, with distill train "
          + "RECIPE")
    }
  }

  /// - Throws: `RunError`, `TeacherCacheError` where no folder could be made or written, something else is in it, or a cache
  ///   that cannot be gone on with as the options say.
  private static func checkPlace(_ folder: String, _ options: Options) throws {
    guard folder.contains(where: { !$0.isWhitespace }) else {
      throw RunError("the folder of the cache has an empty name: give one with --output")
    }
    do { try Folder.tryMaking(folder) } catch let error as FileError {
      throw RunError(
        "the cache \(folder) cannot be written", because: error,
        advice: error.isDiskFull ? "" : ". Name another folder with --output")
    }
    try TeacherCache.requireNothingElse(in: folder)
    guard let rows = options.rowsPerShard, TeacherCache.exists(in: folder) else { return }
    let plan = try TeacherCache.status(of: folder).description.shards
    guard min(rows, plan.exampleCount) != plan.rowsPerShard else { return }
    throw RunError(
      "--shard-size is \(rows), and the cache \(folder) was begun with \(counted(plan.rowsPerShard, "row")) in a shard: "
        + "leave it out to go on with this one, or name another folder with --output")
  }

  /// Computes all checksums of a cache, and holds it against the recipe.
  ///
  /// - Throws: `TeacherCacheError`, `RunError` that say what is damaged, or does not fit.
  public func check(_ folder: String) throws -> Result {
    var result = try Self.verify(folder, observer)
    var configuration = configuration
    configuration.teacher?.cache = folder
    let (runner, job) = try Labelling(configuration, observer: observer).prepare()
    _ = try runner.cachedTeacher(job)
    if let problem = try unfitTerms(folder, runner, job) {
      throw RunError("the teacher cache \(folder) is whole, but the recipe's terms cannot learn from it: \(problem)")
    }
    guard !Interruption.isRequested else { throw Self.interruptedCheck(of: folder) }
    result.fitsRecipe = true
    return result
  }

  /// Computes all checksums of a cache.
  ///
  /// - Throws: `TeacherCacheError`, `RunError` that say what is damaged; `RunError` with `.interrupted` when somebody asked
  ///   to stop.
  public static func verify(_ folder: String, _ observer: RunObserver = { _ in }) throws -> Result {
    guard TeacherCache.exists(in: folder) else {
      throw RunError("\(folder.isEmpty ? "a folder without a name" : folder) holds no teacher cache")
    }
    observer(.stage("Checking \(folder)"))
    let cache = try TeacherCache(folder)
    do {
      try cache.verify { done in
        observer(.fraction(done))
        return Interruption.isRequested ? .stop : .continue
      }
    } catch is Interrupted {
      throw interruptedCheck(of: folder)
    }
    return Result(cache)
  }

  /// What the terms of a recipe without stages want that was not kept.
  private func unfitTerms(_ folder: String, _ runner: TrainingRunner, _ job: TrainingJob) throws -> String? {
    guard configuration.stages.isEmpty,
      let learner = try? configuration.learners(ofStage: 0, materials: runner.materials).first
    else { return nil }
    do {
      try learner.objective().requireFit(
        student: learner.student, cached: TeacherCache(folder).makeTeacher(), loader: runner.makeLoader(job))
      return nil
    } catch let error as DistillationError { return "\(error)" }
  }

  private static func interruptedCheck(of folder: String) -> RunError {
    RunError("interrupted: not all of \(folder) was checked", kind: .interrupted)
  }

  /// The recipe with what the teacher is computed in decided, for all processes that label into a folder: the first of
  /// them decides.
  private func choosingPrecision(
    _ runner: TrainingRunner, _ job: TrainingJob, in folder: String
  ) throws -> Configuration {
    let path = FilePath.joined(folder, ".precision.json")
    let chooser = TeacherPrecisionChooser(
      configuration: job.configuration, materials: runner.materials, device: runner.device, folder: runner.folder,
      isLabelling: true)
    func choose() throws -> (all: [ChosenPrecisions.TeacherChoice], new: [ChosenPrecisions.TeacherChoice]) {
      try chooser.choose(try ChosenPrecisions.read(path)?.teachers ?? [])
    }
    var (all, new) = try choose()
    if new.contains(where: { $0.reason == .measured }), !FileManager.default.fileExists(atPath: path) {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let own = "\(path).\(ProcessInfo.processInfo.processIdentifier)"
      try AtomicFile.write(try ResultJSON.pretty(ChosenPrecisions(teachers: all)), to: own)
      defer { try? FileManager.default.removeItem(atPath: own) }
      // Whole, and only where there is none: another process may have been quicker.
      try? FileManager.default.linkItem(atPath: own, toPath: path)
      (all, _) = try choose()
    }
    for choice in all where choice.reason == .measured && !new.isEmpty {
      observer(.notice("precision in which \(choice.whose) teaches: \(choice.words)"))
    }
    return job.configuration.applying(ChosenPrecisions(teachers: all))
  }

  private func prepare() throws -> (TrainingRunner, TrainingJob) {
    try configuration.checkSettings()
    let device = try configuration.availableDevice()
    if let threads = configuration.threads { try TorchRuntime.setThreadCount(threads) }
    observer(.stage("Loading \(configuration.data.dataset)"))
    let materials = try Materials(configuration, observer: observer)
    let runner = TrainingRunner(
      materials: materials, teacherTestLogits: nil, device: device, folder: RunFolder(configuration.outputFolder),
      observer: observer, isTrial: true)
    return (runner, try TrainingJob(trialOf: configuration, materials: materials))
  }

  private func labelOptions(
    _ options: Options, _ job: TrainingJob, _ runner: TrainingRunner
  ) throws -> TeacherCache.LabelOptions {
    let hottest = Set(job.configuration.terms.compactMap(\.highestTemperature)).sorted()
    let temperatures = hottest.isEmpty ? [1] : hottest
    // Where it is needed it is there: that was checked first.
    let count = options.count ?? 1
    let classes = runner.materials.train.classCount
    if options.logits != .all, count >= classes {
      observer(
        .notice(
          "warning: --count \(count) takes more room than all logits of the \(classes) classes: --logits all keeps them "
            + "exactly"))
    }
    let logits: LogitEncoding =
      switch options.logits {
      case .all: .all(options.type?.dtype ?? .float32)
      case .topK:
        .topK(.init(k: min(count, classes), temperatures: temperatures, values: options.type?.dtype ?? .float16))
      case .sampled:
        .sampled(
          .init(
            count: count, temperature: temperatures[0],
            seed: job.configuration.dataSeed, values: options.type?.dtype ?? .float16))
      }
    let taps =
      try options.features.map { $0.map { Tap($0) } }
      ?? (options.imported != nil ? [] : runner.makeObjective(job).teacherTaps)
    guard options.featureType == nil || !taps.isEmpty else {
      throw RunError(
        "--feature-type is of layers, and none is kept: no term looks at one. Leave it out, or name layers with "
          + "--features")
    }
    var features: [CachedFeature] = []
    for tap in taps where !features.contains(where: { $0.tap == tap }) {
      features.append(CachedFeature(tap, encoding: options.featureType ?? .float16))
    }
    return TeacherCache.LabelOptions(
      logits: logits, features: features, temperatures: temperatures, rowsPerShard: options.rowsPerShard)
  }
}
