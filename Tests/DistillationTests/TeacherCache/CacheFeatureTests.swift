import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Layers of the teacher that were kept.
@Suite struct CacheFeatureTests {
  private let model: any Layer
  private let loader: DataLoader
  private let maps = Tap("0")
  private let vectors = Tap("6", .input)

  init() throws {
    model = try TinyModel.convNet()
    var options = DataLoader.Options(batchSize: 5, prefetch: 0)
    options.views = 1
    loader = try DataLoader(dataset: TinyData.images(count: 13), options: options)
  }

  private func label(_ features: [CachedFeature], in folder: String) throws -> TeacherCache {
    try TeacherCache.label(
      with: FrozenTeacher(model), over: loader, as: CacheSample.key(classes: 2), in: folder,
      options: .init(logits: .all(.float32), features: features, rowsPerShard: 4))
    return try TeacherCache(folder)
  }

  @Test(arguments: FeatureEncoding.allCases) func featuresComeBack(encoding: FeatureEncoding) throws {
    try withTemporaryFolder { folder in
      let cache = try label([.init(maps, encoding: encoding), .init(vectors, encoding: encoding)], in: folder)
      let batch = try loader.batch(ids: [11, 0, 7, 3])
      let live = try FrozenTeacher(model).trace(batch, taps: [maps, vectors])
      let found = try cache.makeTeacher().trace(batch, taps: [vectors, maps])
      for (index, tap) in [maps, vectors].enumerated() {
        let (own, other) = (try live.activation(at: tap), try found.activation(at: tap))
        #expect(own.shape == other.shape && other.dtype == .float32)
        switch encoding {
        case .float32: try assertClose(other, own, relative: 1e-5, absolute: 1e-6)
        case .float16: try assertClose(other, own, relative: 1e-3, absolute: 1e-6)
        case .int8:
          // No number is off by more than half a step of its slice: a channel of a map, a whole vector.
          let rows = tap == maps ? [4, 4, 64] : [4, 1, 64]
          let errors = try (other - own).absolute().reshaped(rows).maximum(along: -1)
          let bounds = try own.absolute().reshaped(rows).maximum(along: -1) * (1 / 254.0) + 1e-5
          #expect(try errors.isGreater(than: bounds).not().all())
        }
        let relative = cache.fidelity.features[index].relative
        switch encoding {
        case .float32: #expect(relative == 0)
        case .float16: #expect(relative > 0 && relative < 5e-4)
        case .int8: #expect(relative > 0 && relative < 1e-2)
        }
      }
    }
  }

  /// By hand: the largest of each channel is 127 steps.
  @Test func scalesAreThoseOfEachSlice() throws {
    try withTemporaryFolder { folder in
      let given: [Float] = [127, -3.4, 0.6, 0, 0, 0, 0, 0, 2.54, -2.54, 0.01, 0.02]
      let table = FixedFeature(try Tensor(given, shape: [1, 3, 2, 2]))
      var options = DataLoader.Options(batchSize: 1, prefetch: 0)
      options.views = 1
      let loader = try DataLoader(dataset: TinyData.vectors(count: 3), examples: [1], options: options)
      try TeacherCache.label(
        with: table, over: loader, as: CacheSample.key(classes: 2), in: folder,
        options: .init(features: [.init(Tap("map"), encoding: .int8)]))
      let file = try Checkpoint.read(CacheSample.shard(folder, 0))
      #expect(try file["features.0"]?.array(of: Int8.self) == [127, -3, 1, 0, 0, 0, 0, 0, 127, -127, 0, 1])
      let scales = try #require(file["features.0.scales"])
      #expect(scales.shape == [1, 3])
      assertClose(try scales.doubles()[0], 1)
      assertClose(try scales.doubles()[2], 0.02, relative: 1e-6)
      let found = try TeacherCache(folder).makeTeacher().trace(loader.batch(ids: [1]), taps: [Tap("map")])
      try assertClose(
        found.activation(at: Tap("map")).flattened(),
        Tensor([Float(127), -3, 1, 0, 0, 0, 0, 0, 2.54, -2.54, 0, 0.02]), relative: 1e-6)
    }
  }

  @Test func layersThatWereNotKeptAreNamed() throws {
    try withTemporaryFolder { folder in
      let cache = try label([.init(maps)], in: folder)
      let batch = try loader.batch(ids: [1])
      let problem = CacheSample.problem { _ = try cache.makeTeacher().trace(batch, taps: [Tap("3")]) }
      #expect(problem.contains("the layer '3' was not kept, only 0 (float16): label again with it"))
      let turned = CacheSample.problem {
        _ = try cache.makeTeacher().trace(batch.withCopies(InputTransformation.rotations), taps: [maps])
      }
      #expect(turned.contains("needs") || turned.contains("need the teacher to run live"))
      let none = try PrecomputedTeacher(computing: FrozenTeacher(model), over: loader)
      #expect(
        CacheSample.problem { _ = try none.trace(batch, taps: [maps]) }.contains("only logits were precomputed"))
    }
  }

  /// A term on layers learns from the cache what it learns from the live teacher.
  @Test func termsOnLayersLearnFromIt() throws {
    try withTemporaryFolder { folder in
      let cache = try label([.init(maps, encoding: .float32)], in: folder)
      let batch = try loader.batch(ids: [4, 12, 9])
      let objective = try Objective([.init(AttentionTransfer(layers: [LayerPair("0")]))])
      let student = try TinyModel.convNet(seed: 5)
      let values = try [FrozenTeacher(model) as any Teacher, cache.makeTeacher()].map { teacher in
        try #require(
          try objective.evaluate(
            student: student.trace(batch.inputs, taps: objective.studentTaps), teacher: objective.trace(teacher, batch),
            batch: batch)
        ).total.item()
      }
      assertClose(values[1], values[0], relative: 1e-4)
    }
  }

  /// Layers of members of an ensemble, which terms choose by name.
  @Test func layersOfMembers() throws {
    try withTemporaryFolder { folder in
      let models = try [TinyModel.convNet(seed: 2), TinyModel.convNet(seed: 3)]
      let ensemble = try EnsembleTeacher(
        models.map { FrozenTeacher($0) }, weights: [1, 3], weighting: .confidence(sharpness: 2), names: ["a", "b"])
      try TeacherCache.label(
        with: ensemble, over: loader,
        as: .init(members: [.init(name: "a", weights: "1"), .init(name: "b", weights: "2")], classCount: 2), in: folder,
        options: .init(logits: .all(.float32), features: [.init(maps, member: 1, encoding: .float32)], rowsPerShard: 6))
      let teacher = try TeacherCache(folder).makeTeacher()
      #expect(teacher.memberNames == ["a", "b"])
      let batch = try loader.batch(ids: [2, 10])
      let live = try ensemble.trace(batch, taps: [], memberTaps: [1: [maps]])
      let found = try teacher.trace(batch, taps: [], memberTaps: [1: [maps]])
      try assertClose(found.memberTraces[1].activation(at: maps), live.memberTraces[1].activation(at: maps))
      try assertClose(found.logSoftTargets(temperature: 2), live.logSoftTargets(temperature: 2))
      let problem = CacheSample.problem { _ = try teacher.trace(batch, taps: [], memberTaps: [0: [maps]]) }
      #expect(problem.contains("the layer '0' of the member 'a' was not kept, only 0 of member 1 (float32)"))
      // The members can be weighed anew, as those in memory.
      let again = try EnsembleTeacher(models.map { FrozenTeacher($0) }, weights: [2, 1], average: .geometric)
      try assertClose(
        teacher.weighing([2, 1], average: .geometric).trace(batch).logSoftTargets(temperature: 3),
        again.trace(batch).logSoftTargets(temperature: 3))
    }
  }
}

/// A teacher with one layer whose activation is the same for every example.
private final class FixedFeature: Teacher {
  let value: Tensor

  init(_ value: Tensor) { self.value = value }

  func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    TeacherTrace(
      logits: try Tensor.zeros([batch.ids.count, 2]),
      activations: try Dictionary(
        uniqueKeysWithValues: taps.map {
          ($0, try value.broadcast(to: [batch.ids.count] + value.shape.dropFirst()))
        }))
  }
}
