import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// What the training of a specialist begins with.
struct SpecialistSource: Sendable {
  /// Counted from 1.
  var number: Int
  var classes: SpecialistClasses
  /// The file of the generalist's weights.
  var generalist: String
  var specification: ModelSpecification
}

/// The file `specialists.json`: what each specialist of a run knows, where its model is, and how it is to be corrected.
struct SpecialistRecord: Codable {
  /// The numbers of its classes, in the order of its outputs; the dustbin comes last.
  var classes: [Int]
  var names: [String]
  /// Its model folder, relative to the run folder.
  var folder: String
  /// What is added to the dustbin's logit.
  var dustbinCorrection: Double

  /// Those of a run; nil where it has none yet.
  static func all(in folder: RunFolder) throws -> [Self]? {
    guard let data = FileManager.default.contents(atPath: folder.specialists) else { return nil }
    guard let records: [Self] = try? ResultJSON.decode(data) else {
      throw RunError("\(folder.specialists) is damaged: delete it, and the run makes it again")
    }
    return records
  }
}

/// Makes the specialists of a run: finds their classes, and plans their trainings.
struct SpecialistPlan {
  let jobs: [TrainingJob]
  private let corrections: [Double]

  /// - Parameter generalist: the teacher without specialists, with its weights
  /// - Throws: `RunError` when classes do not exist, or there are not enough of them.
  init(
    _ configuration: Configuration, _ specialists: Configuration.Specialists, generalist: TeacherMaker,
    materials: Materials, device: Device
  ) throws {
    let source = generalist.members[0]
    let labels = Set(materials.split.train)
    let known = (0..<materials.train.count).map { labels.contains($0) ? materials.train.label(at: $0) : -1 }
    let count = known.count { $0 >= 0 }
    var jobs: [TrainingJob] = []
    var corrections: [Double] = []
    let groups = try Self.classes(
      specialists, generalist: generalist, materials: materials, device: device, seed: configuration.dataSeed)
    for (index, group) in groups.enumerated() {
      do {
        let classes = try SpecialistClasses(group, of: materials.train.classCount)
        let examples = try classes.trainingExamples(
          labels: known, share: specialists.share, seed: configuration.dataSeed)
        func ofItsClasses(_ label: Int) -> Bool { label >= 0 && classes.output(of: label) != classes.dustbin }
        let own = examples.count { ofItsClasses(known[$0]) }
        corrections.append(
          try SpecialistClasses.dustbinCorrection(
            trainedShare: Double(own) / Double(examples.count),
            share: Double(known.count(where: ofItsClasses)) / Double(count)))
        jobs.append(
          try TrainingJob(
            setting: "", arm: .specialist, seed: configuration.seeds.first ?? 0, configuration: configuration,
            examples: examples, labelled: examples,
            budget: Budget(specialists.training, exampleCount: examples.count),
            specialist: SpecialistSource(
              number: index + 1, classes: classes, generalist: source.weights, specification: source.specification),
            dependencies: [
              "specialist", "\(group)", try configuration.identity(of: [.data]), specialists.node.yaml,
              "\(configuration.dataSeed)", try materials.train.contentHash, try SHA256.hex(ofWeights: source.weights),
            ]))
      } catch let error as DistillationError {
        throw RunError("teacher.specialists, the one in classes \(group): \(error)")
      }
    }
    self.jobs = jobs
    self.corrections = corrections
  }

  /// Those that are given, or those that the generalist takes for each other.
  private static func classes(
    _ specialists: Configuration.Specialists, generalist: TeacherMaker, materials: Materials, device: Device,
    seed: UInt64
  ) throws -> [[Int]] {
    let names = materials.train.classNames
    if let given = specialists.classes {
      return try given.map { group in
        try group.map { name in
          guard let index = names.firstIndex(of: name) else {
            let near = closest(to: name, in: names, limit: 1).first.map { ": did you mean '\($0)'?" } ?? ""
            throw RunError("teacher.specialists.classes names '\(name)', which is no class of the data\(near)")
          }
          return index
        }
      }
    }
    guard let count = specialists.count else { return [] }
    let examples = spread(materials.split.train, count: 20_000)
    let set = try materials.evaluationSet(materials.train, examples: examples, device: device, channelsLast: false)
    let logits = try set.logits(of: generalist.makeTeacher()).finiteOutputs(of: generalist.name)
    do {
      let clusters = try ClassClusters(covariance: predictionCovariance(logits: logits), count: count, seed: seed)
      return clusters.clusters
    } catch let error as DistillationError {
      throw RunError("teacher.specialists.count: \(error)")
    }
  }

  /// What is to be known of the specialists, once all of them are trained.
  func write(to folder: RunFolder, classNames: [String]) throws {
    let records = zip(jobs, corrections).compactMap { job, correction in
      job.specialist.map { source in
        SpecialistRecord(
          classes: source.classes.subset.classes, names: source.classes.subset.classes.map { classNames[$0] },
          folder: "jobs/\(job.folderName)/model", dustbinCorrection: correction)
      }
    }
    try AtomicFile.write(try ResultJSON.pretty(records), to: folder.specialists)
  }
}

extension SpecialistSource {
  /// What a specialist is: the generalist with outputs for its classes and the dustbin.
  var ownSpecification: ModelSpecification {
    var own = specification
    own.classCount = classes.outputCount
    return own
  }

  /// The generalist's weights, with the last layer made for the specialist's classes.
  func firstWeights() throws -> Checkpoint {
    let classifier = try ModelZoo.architecture(named: specification.architecture).classifier
    var checkpoint = try Checkpoint.readFinite(generalist)
    func index(_ name: String) throws -> Int {
      guard let index = checkpoint.tensors.firstIndex(where: { $0.name == "\(classifier).\(name)" }) else {
        throw RunError(
          "\(generalist) has no '\(classifier).\(name)': specialists begin with the generalist's last layer")
      }
      return index
    }
    let (weight, bias) = (try index("weight"), try index("bias"))
    let head = try classes.firstHead(
      weight: try checkpoint.tensors[weight].tensor.to(.float32), bias: try checkpoint.tensors[bias].tensor.to(.float32)
    )
    checkpoint.tensors[weight] = NamedTensor(name: checkpoint.tensors[weight].name, tensor: head.weight)
    checkpoint.tensors[bias] = NamedTensor(name: checkpoint.tensors[bias].name, tensor: head.bias)
    return checkpoint
  }
}

extension Materials {
  /// The same examples as a specialist sees them.
  init(_ other: Materials, for classes: SpecialistClasses) throws {
    train = try SpecialistDataset(other.train, classes)
    test = try SpecialistDataset(other.test, classes)
    split = other.split
    normalization = other.normalization
    joined = train
    seed = other.seed
  }
}
