import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct SingularVectorsTests {
  let fixture = try! Fixture("layer-terms")

  /// The singular values are well apart in the reference; what keeps the gradient bounded then changes it by a few parts in
  /// 10,000.
  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "singular/one", relative: 1e-3) { try SingularVectors(layers: $0) }
    try checkLayerTerm(fixture, "singular/two", relative: 1e-3) {
      try SingularVectors(layers: $0, vectors: 2, extra: 0, width: 0.5, reduction: .sum)
    }
  }

  @Test func isZeroWhereStudentAndTeacherAreAlike() throws {
    for count in [1, 3] {
      let maps = try [normal([count, 3, 4, 4]), normal([count, 5, 2, 2], seed: 2)]
      let example = try LayerTermCase(students: maps.map { try $0 * -2 }, teachers: maps)
      assertClose(try example.evaluate(try SingularVectors(layers: example.pairs, vectors: 3)), 0, absolute: 1e-6)
      try assertClose(example.gradient(1), maps[1].zerosLike(), absolute: 1e-4)
    }
    try checkParts(try LayerTermCase(fixture, "singular/one")) { try SingularVectors(layers: $0) }
  }

  /// Where all singular values are the same, the exact gradient would be infinite.
  @Test func theGradientStaysBounded() throws {
    let same = try Tensor.identity(4).reshaped([1, 4, 2, 2])
    let nearlySame = try same + normal([1, 4, 2, 2]) * 1e-6
    let noise = try normal([1, 4, 2, 2], seed: 2)
    let zero = try same.zerosLike()
    for student in [same, nearlySame, zero, try noise * 1e15, try noise * 1e-15] {
      for teacher in [noise, same, zero] {
        let example = try LayerTermCase(students: [student, noise], teachers: [teacher, noise])
        let value = try example.evaluate(try SingularVectors(layers: example.pairs, vectors: 2))
        #expect(value.isFinite)
        #expect(try example.gradient().isFinite().all())
      }
    }
    let example = try LayerTermCase(students: [nearlySame, noise], teachers: [noise, noise])
    try example.evaluate(try SingularVectors(layers: example.pairs, vectors: 2))
    #expect(try example.gradient().absolute().maximum(along: 0, 1, 2, 3).item() < 1e3)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(
      students: [[2, 3, 4, 4], [2, 3, 4, 4]], teachers: [[2, 3, 4, 4], [2, 6, 4, 4]],
      mentions: ["student1", "[2, 6, 4, 4]", "channels"]
    ) { try SingularVectors(layers: $0) }
    try checkRefusal(
      students: [[2, 3, 4, 4], [2, 3, 4, 4]], teachers: [[2, 3, 4, 4], [2, 3, 4, 4]], mentions: ["student0", "4"]
    ) { try SingularVectors(layers: $0, vectors: 4) }
    let layers = [LayerPair("a"), LayerPair("b")]
    #expect(throws: DistillationError.self) { try SingularVectors(layers: [layers[0]]) }
    #expect(throws: DistillationError.self) { try SingularVectors(layers: layers, vectors: 0) }
    #expect(throws: DistillationError.self) { try SingularVectors(layers: layers, extra: -1) }
    #expect(throws: DistillationError.self) { try SingularVectors(layers: layers, width: 0) }
    #expect(try SingularVectors.kind.make(["layers": .layers(layers)]).studentTaps.count == 2)
    #expect(throws: TorchError.self) {
      let maps = try normal([2, 3, 4, 4])
      return try singularVectorLoss(studentMaps: [maps], teacherMaps: [maps])
    }
  }
}
