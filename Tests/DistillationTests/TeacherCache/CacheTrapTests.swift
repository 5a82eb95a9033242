import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

/// What caches of teachers get wrong elsewhere. Each test fails if we fall into the trap.
@Suite struct CacheTrapTests {
  private static let augmentation: Augmentation = [.shift(pixels: 2), .horizontalFlip()]

  private func loader(
    batchSize: Int = 8, shuffle: Bool = false, workers: Int = 1, views: Int? = 3,
    augmentation: Augmentation = Self.augmentation, count: Int = 37,
    _ change: (inout DataLoader.Options) -> Void = { _ in }
  ) throws -> DataLoader {
    var options = DataLoader.Options(
      batchSize: batchSize, shuffle: shuffle, seed: 4, augmentation: augmentation, views: views, workers: workers)
    change(&options)
    return try DataLoader(dataset: TinyData.images(count: count), options: options)
  }

  private func label(_ model: any Layer, _ loader: DataLoader, in folder: String, weights: String = "w") throws {
    try TeacherCache.label(
      with: FrozenTeacher(model), over: loader, as: CacheSample.key(classes: 64, weights: weights), in: folder,
      options: .init(logits: .all(.float32), rowsPerShard: 10))
  }

  /// The teacher says the pixels themselves, so that a row of another example or view would be seen at once: the student
  /// is the same bit for bit.
  @Test("Trap 6: each row of a cache is that of its example and view, exactly", arguments: [1, 3], [1, 2])
  func rowsLineUp(workers: Int, accumulation: Int) throws {
    try withTemporaryFolder { folder in
      try label(Flatten(), loader(), in: folder)
      let cached = try TeacherCache(folder).makeTeacher()
      let same = try teachTheSame([FrozenTeacher(Flatten()), cached], steps: 40, accumulation: accumulation) {
        try loader(batchSize: 5, shuffle: true, workers: workers)
      }
      #expect(same)
    }
  }

  @Test("Trap 7: a cache made on one augmentation is not used with another") func otherAugmentations() throws {
    try withTemporaryFolder { folder in
      try label(Flatten(), loader(), in: folder)
      let teacher = try TeacherCache(folder).makeTeacher()
      try teacher.requireFit(loader())
      try teacher.requireFit(loader(views: 2))
      try teacher.requireFit(
        loader {
          $0.augmentationSeed = 4
          $0.seed = 9
        })
      let others: [(loader: DataLoader, words: String)] = [
        (try loader(augmentation: [.shift(pixels: 1), .horizontalFlip()]), "shift(pixels=2"),
        (try loader { $0.seed = 5 }, "the seed of the augmentation is 4, not 5"),
        (try loader { $0.augmentationSeed = 6 }, "4, not 6"),
        (
          try loader { $0.normalization = .init(mean: [0.5], standardDeviation: [2]) },
          "the normalization is none, not mean [0.5]"
        ),
        (try loader { $0.teacherView = .plain }, "the augmentation is"),
        (try loader { $0.teacherView = .other }, "another one"),
        (try loader(views: 4), "3 views of each example, and the training shows 4"),
        (try loader(views: nil), "a new one in each epoch"),
        (try loader(augmentation: Self.augmentation.steps.mixed), "mixup"),
      ]
      for (other, words) in others {
        let refusal = CacheSample.problem { try teacher.requireFit(other) }
        #expect(refusal.contains(words), "\(refusal)")
      }
      // The un-augmented view on request: one row for all views of the student.
      try label(Flatten(), loader(augmentation: []) { $0.views = 1 }, in: "\(folder)/.plain")
      let plain = try TeacherCache("\(folder)/.plain").makeTeacher()
      try plain.requireFit(loader(views: nil) { $0.teacherView = .plain })
      let augmented = CacheSample.problem { try plain.requireFit(loader()) }
      #expect(augmented.contains("the augmentation is 'none'"), "\(augmented)")
    }
  }

  @Test("Traps 7 and 8: a cache of other weights, data or settings is refused with what differs")
  func staleCaches() throws {
    let loader = try loader()
    let key = try TeacherCache.Key(loader, teacher: CacheSample.key(classes: 64))
    func differences(_ change: (inout TeacherCache.Key) -> Void) -> [String] {
      var other = key
      change(&other)
      return key.differences(from: other)
    }
    #expect(differences { _ in }.isEmpty)
    #expect(differences { $0.data.name = "renamed" }.isEmpty)
    let cases: [((inout TeacherCache.Key) -> Void, String)] = [
      ({ $0.data.contentHash = "other" }, "it was made on other data: tiny images ("),
      ({ $0.data.exampleCount = 5 }, "it is of 37 examples, not 5"),
      ({ $0.data.examplesHash = "other" }, "it is of other examples of the same data, as many"),
      ({ $0.inputs.augmentation = "none" }, "the augmentation is 'augmentation 1: shift"),
      ({ $0.inputs.isDrawnForTeacher = true }, "the teacher sees the student's draw"),
      ({ $0.inputs.seed = nil }, "the seed of the augmentation is 4, not none"),
      ({ $0.inputs.normalization = .init(mean: [0], standardDeviation: [1]) }, "the normalization is none"),
      ({ $0.inputs.partners = "x" }, "examples are mixed with partners from another set"),
      ({ $0.views = 5 }, "it has 3 views of each example, not 5"),
      ({ $0.views = 2 }, "it has 3 views of each example, not 2"),
      ({ $0.teacher.members[0].weights = "new" }, "the teacher had other weights (weights…, not new…)"),
      ({ $0.teacher.members[0].name = "b" }, "the teacher's members are '0', not 'b'"),
      ({ $0.teacher.members.append(.init(name: "c", weights: "")) }, "the teacher's members are '0', not '0', 'c'"),
      ({ $0.teacher.mode = "training" }, "the teacher's mode was evaluation, not training"),
      ({ $0.teacher.precision = "bfloat16" }, "the teacher was computed in float32, not bfloat16"),
      ({ $0.teacher.classCount = 3 }, "the teacher has 64 classes, not 3"),
      ({ $0.teacher.settings["layout"] = "channels last" }, "the teacher's layout is none, not channels last"),
    ]
    for (change, sentence) in cases {
      let found = differences(change)
      #expect(found.count == 1 && found[0].hasPrefix(sentence), "\(found) for \(sentence)")
    }
    // More views and more examples are no obstacle to use.
    var fewer = key
    fewer.views = 2
    fewer.data.exampleCount = 3
    #expect(key.obstacles(to: fewer).isEmpty)
    #expect(fewer.obstacles(to: key) == ["it has 2 views of each example, not 3"])
    #expect(try JSONDecoder().decode(TeacherCache.Key.self, from: JSONEncoder().encode(key)) == key)

    try withTemporaryFolder { folder in
      try label(Flatten(), loader, in: folder, weights: "old")
      let before = try CacheSample.files(folder)
      // Neither read nor gone on with.
      let use = CacheSample.problem { try TeacherCache(folder).requireKey(key) }
      #expect(use.contains("it does not fit: the teacher had other weights (old…, not weights…); label again into"))
      let again = CacheSample.problem { try label(Flatten(), loader, in: folder, weights: "new") }
      #expect(again.contains("it is another cache: the teacher had other weights"))
      let encoding = CacheSample.problem {
        try TeacherCache.label(
          with: FrozenTeacher(Flatten()), over: loader, as: CacheSample.key(classes: 64, weights: "old"), in: folder,
          options: .init(logits: .all(.float16), temperatures: [1, 3]))
      }
      #expect(encoding.contains("it keeps all logits as float32, not all logits as float16"))
      #expect(encoding.contains("its fidelity is measured at temperature 1, not 1 and 3"))
      #expect(try CacheSample.files(folder) == before)
      let other = try DataLoader(
        dataset: TinyData.images(count: 38), examples: loader.examples, options: loader.options)
      #expect(CacheSample.problem { try TeacherCache(folder).makeTeacher().requireFit(other) }.contains("other data"))
    }
  }

  /// Examples that are mixed have partners among all examples, whichever shard they are in.
  @Test("Trap 7: mixed examples are labelled as the student sees them") func mixedExamples() throws {
    try withTemporaryFolder { folder in
      let shown = try loader(views: 2, augmentation: [.shift(pixels: 1), .mixup(alpha: 0.4)])
      try label(Flatten(), shown, in: folder)
      let teacher = try TeacherCache(folder).makeTeacher()
      for view in 0..<2 {
        let batch = try shown.batch(ids: [36, 4, 17], view: view)
        #expect(try teacher.trace(batch).logits().equals(batch.inputs.flattened(from: 1)).all())
      }
    }
  }
}

extension [AugmentationStep] {
  /// With another step.
  fileprivate var mixed: Augmentation { Augmentation(self + [.mixup(alpha: 1)]) }
}
