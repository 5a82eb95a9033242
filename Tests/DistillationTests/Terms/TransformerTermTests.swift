import DistillData
import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

/// The terms on transformers, against the papers' formulas (scripts/fixtures/sequence_terms.py).
@Suite struct TransformerTermTests {
  let fixture = try! Fixture("sequence-terms")
  let pair = LayerPair(student: Tap("s"), teacher: Tap("t"))

  /// What a term sees of a student and a teacher that gave these at the taps of `pair`.
  func input(_ student: Tensor, _ teacher: Tensor, mask: Tensor? = nil) throws -> TermInput {
    let examples = student.shape.first ?? 0
    let batch =
      try mask.map {
        try Batch(
          ids: Array(0..<examples), sequences: Tensor.zeros($0.shape), mask: $0, predictsTokens: false)
      } ?? Batch.fake(count: examples)
    let logits = try Tensor.zeros([examples, 2])
    return TermInput(
      student: Trace(output: logits, activations: [pair.student: student]),
      teacher: TeacherTrace(logits: logits, activations: [pair.teacher: teacher]), batch: batch)
  }

  /// The mean of a term, and its gradient by the student's activation.
  func evaluate(_ term: any Term, _ student: Tensor, _ teacher: Tensor, mask: Tensor? = nil) throws -> (Double, Tensor)
  {
    let leaf = try student.to(.float32).copied().requireGradient()
    let input = try input(leaf, teacher, mask: mask)
    if term.adapter == nil { try term.prepare(input) }
    let mean = try term.sum(input) / Double(term.count(input.batch))
    try mean.backward()
    return (try mean.item(), try #require(leaf.gradient))
  }

  func mask(_ name: String) throws -> Tensor? { name == "masked" ? try fixture["hidden/mask"] : nil }

  func check(_ term: any Term, _ student: String, _ teacher: String, _ key: String, mask: Tensor?) throws {
    let (value, gradient) = try evaluate(term, fixture[student], fixture[teacher], mask: mask)
    try assertClose(value, fixture["\(key)/value"].item(), relative: 2e-5, key)
    try assertClose(gradient, fixture["\(key)/gradient"], relative: 2e-4, absolute: 1e-6, key)
  }

  /// By value, by the student's states and by the linear map.
  @Test(arguments: ["hidden", "cosine"], ["plain", "masked"])
  func hiddenStatesEqualTheFormula(kind: String, name: String) throws {
    let term: any Term =
      kind == "hidden" ? try HiddenStates(layers: [pair]) : try CosineHiddenStates(layers: [pair])
    try term.prepare(input(fixture["hidden/student"], fixture["hidden/teacher"]))
    let map = try #require(term.adapter)
    #expect(map.namedParameters.map(\.name) == ["maps.0.weight", "maps.0.bias"])
    try withoutGradient {
      try map.parameters[0].copy(from: fixture["hidden/weight"])
      try map.parameters[1].copy(from: fixture["hidden/bias"])
    }
    try check(term, "hidden/student", "hidden/teacher", "\(kind)/\(name)", mask: mask(name))
    for (parameter, suffix) in zip(map.parameters, ["weight", "bias"]) {
      try assertClose(
        #require(parameter.gradient), fixture["\(kind)/\(name)/gradient-of-\(suffix)"], relative: 2e-4, absolute: 1e-6)
    }
  }

  @Test(arguments: ["plain", "masked"])
  func attentionMapsEqualTheFormula(name: String) throws {
    try check(
      AttentionMaps(layers: [pair]), "attention/student", "attention/teacher", "attention/scores/\(name)",
      mask: mask(name))
    try check(
      AttentionMaps(layers: [pair], measure: .divergence), "attention/student-shares", "attention/teacher-shares",
      "attention/shares/\(name)", mask: mask(name))
  }

  @Test(arguments: ["plain", "masked"])
  func relationsEqualTheFormula(name: String) throws {
    try check(
      ValueRelations(layers: [pair], heads: 2), "relations/student", "relations/teacher", "relations/heads=2/\(name)",
      mask: mask(name))
  }

  /// One state for each text, such as the mean of its tokens, is compared text by text, whichever tokens count.
  @Test func statesOfWholeTextsAreComparedTextByText() throws {
    let states = try fixture["relations/teacher"].to(.float32)
    let (student, teacher) = try (states.selected(1, 0), states.selected(1, 1))
    let mask = try Tensor.ones([states.size(0), 3], dtype: .int64)
    try withoutGradient { try mask.selected(0, 0).selected(0, 2).fill(0) }
    for make in [{ try HiddenStates(layers: [pair]) }, { try CosineHiddenStates(layers: [pair]) }]
      as [() throws -> any Term]
    {
      let plain = try evaluate(make(), student, teacher)
      let masked = try evaluate(make(), student, teacher, mask: mask)
      assertClose(masked.0, plain.0, relative: 1e-5)
      try assertClose(masked.1, plain.1, relative: 1e-5, absolute: 1e-7)
      #expect(plain.0 > 0.01)
    }
  }

  /// Student = teacher: nothing to learn.
  @Test func alikeIsZero() throws {
    let states = try fixture["relations/teacher"]
    let maps = try fixture["attention/teacher"].softmax()
    for (term, given) in [
      (try HiddenStates(layers: [pair]), states), (try CosineHiddenStates(layers: [pair]), states),
      (try AttentionMaps(layers: [pair]), maps), (try AttentionMaps(layers: [pair], measure: .divergence), maps),
      (try ValueRelations(layers: [pair], heads: 3), states),
    ] as [(any Term, Tensor)] {
      let (value, gradient) = try evaluate(term, given, given.to(.float32))
      assertClose(value, 0, absolute: 1e-6, term.name)
      // Of probabilities the divergence's gradient is −b / a / rows, the same for all that are alike.
      guard term.name != "attention_maps" else { continue }
      try assertClose(gradient, gradient.zerosLike(), absolute: 1e-6, term.name)
    }
  }

  /// Zeros, huge numbers, probabilities of exactly 0 and 1, and sequences without a token that counts give no NaN.
  @Test func limitsAreFinite() throws {
    let shape = [2, 4, 6]
    let empty = try Tensor([1, 1, 1, 1, 0, 0, 0, 0] as [Int64], shape: [2, 4])
    let hidden = try [
      Tensor.zeros(shape), Tensor.full(shape, 1e4), fixture["hidden/teacher"].to(.float32),
    ]
    for student in hidden {
      for teacher in hidden {
        for term in [
          try HiddenStates(layers: [pair]), try CosineHiddenStates(layers: [pair]),
          try ValueRelations(layers: [pair], heads: 1), try ValueRelations(layers: [pair], heads: 6),
        ] as [any Term] {
          for mask in [nil, empty] {
            let (value, gradient) = try evaluate(term, student, teacher, mask: mask)
            #expect(value.isFinite && value >= -1e-6, "\(term.name)")
            #expect(try gradient.isFinite().all(), "\(term.name)")
          }
        }
      }
    }
    let certain = try Tensor.identity(4).broadcast(to: [2, 2, 4, 4])
    let other = try certain.flipped(3)
    for measure in AttentionMeasure.allCases {
      let term = try AttentionMaps(layers: [pair], measure: measure)
      for mask in [nil, empty] {
        let (value, gradient) = try evaluate(term, other, certain, mask: mask)
        #expect(value.isFinite && value > 0)
        #expect(try gradient.isFinite().all())
      }
    }
  }

  /// A zero vector has no direction: it costs 1 and is not pushed anywhere.
  @Test func cosineOfZeroIsOneWithoutAGradient() throws {
    let (value, gradient) = try evaluate(
      CosineHiddenStates(layers: [pair]), Tensor.zeros([1, 3]), Tensor.ones([1, 3]))
    #expect(value == 1)
    try assertClose(gradient, Tensor.zeros([1, 3]))
  }

  @Test func widthsThatAreAlikeNeedNoMap() throws {
    let term = try HiddenStates(layers: [pair])
    try term.prepare(input(fixture["hidden/teacher"], fixture["hidden/teacher"]))
    #expect(try #require(term.adapter).parameters.isEmpty)
  }

  @Test func pairsShareAMapOrNot() throws {
    let second = LayerPair(student: Tap("s2"), teacher: Tap("t"))
    var first = try input(fixture["hidden/student"], fixture["hidden/teacher"])
    first.student.activations[second.student] = try fixture["hidden/student"]
    for (shared, count) in [(true, 2), (false, 4)] {
      let term = try HiddenStates(layers: [pair, second], sharedMap: shared)
      try term.prepare(first)
      #expect(try #require(term.adapter).parameters.count == count)
      let one = try HiddenStates(layers: [pair])
      try one.prepare(first)
      try withoutGradient {
        for index in 0..<count {
          try #require(term.adapter).parameters[index].copy(from: #require(one.adapter).parameters[index % 2])
        }
      }
      try assertClose(term.sum(first).item(), 2 * one.sum(first).item(), relative: 1e-5)
    }
  }

  @Test func mistakesAreNamed() throws {
    let states = try Tensor.zeros([2, 4, 6])
    func message(_ term: any Term, _ student: Tensor, _ teacher: Tensor, mask: Tensor? = nil) throws -> String {
      let error = #expect(throws: DistillationError.self) {
        _ = try evaluate(term, student, teacher, mask: mask)
      }
      return try #require(error).description
    }
    let image = try Tensor.zeros([2, 3, 4, 4])
    #expect(try message(HiddenStates(layers: [pair]), image, states).contains("at s are [2, 3, 4, 4]"))
    #expect(try message(HiddenStates(layers: [pair]), states, Tensor.zeros([2, 5, 6])).contains("[2, 5, 6]"))
    let mask = try fixture["hidden/mask"]
    #expect(
      try message(CosineHiddenStates(layers: [pair]), Tensor.zeros([2, 6]), states, mask: mask).contains("at s, [2, 6]")
    )
    #expect(
      try message(CosineHiddenStates(layers: [pair]), Tensor.zeros([2, 5, 6]), states, mask: mask).contains("at s are"))
    #expect(try message(AttentionMaps(layers: [pair]), states, states).contains("[N, heads, L, S]"))
    let fourHeads = try Tensor.zeros([2, 4, 4, 4])
    #expect(
      try message(AttentionMaps(layers: [pair]), Tensor.zeros([2, 2, 4, 4]), fourHeads).contains("value_relations"))
    #expect(try message(ValueRelations(layers: [pair], heads: 4), states, states).contains("multiple of 4"))
    let unprepared = try HiddenStates(layers: [pair])
    #expect(throws: DistillationError.self) { try unprepared.sum(input(states, states)) }
    let scores = LayerPair(student: Tap("a.scores"), teacher: Tap("a.scores"))
    #expect(throws: DistillationError.self) { try AttentionMaps(layers: [scores], measure: .divergence) }
    #expect(throws: DistillationError.self) { try ValueRelations(layers: [pair], heads: 0) }
    #expect(throws: DistillationError.self) { try HiddenStates(layers: []) }
    #expect(throws: DistillationError.self) { try AttentionMaps(layers: []) }
    #expect(throws: TorchError.self) { try hiddenStateLoss(studentStates: states, teacherStates: image) }
    #expect(throws: TorchError.self) { try cosineHiddenStateLoss(studentStates: states, teacherStates: image) }
    #expect(throws: TorchError.self) { try attentionMapLoss(studentMaps: states, teacherMaps: states) }
    #expect(throws: TorchError.self) {
      try attentionMapLoss(
        studentMaps: Tensor.zeros([2, 1, 4, 5]), teacherMaps: Tensor.zeros([2, 1, 4, 5]), mask: mask)
    }
    #expect(throws: TorchError.self) { try relationLoss(studentVectors: states, teacherVectors: states, heads: 4) }
  }

  @Test func recipesMakeThem() throws {
    #expect(
      try HiddenStates.kind.make(["layers": .layers([pair]), "shared_map": .flag(false)]).studentTaps == [Tap("s")])
    #expect(try CosineHiddenStates.kind.make(["layers": .layers([pair])]).teacherTaps == [Tap("t")])
    #expect(
      try AttentionMaps.kind.make(["layers": .layers([pair]), "measure": .text("divergence")]).name == "attention_maps")
    #expect(try ValueRelations.kind.make(["layers": .layers([pair]), "heads": .number(2)]).name == "value_relations")
  }

  /// The whole path: two small transformers, taps in their attention, the objective, its adapters, and a step.
  @Test func aStudentLearnsFromADeeperTeacher() throws {
    let student = try withRandomStream(RandomStream(seed: 1)) { try Encoder(width: 4, depth: 2, heads: 2) }
    let teacher = try withRandomStream(RandomStream(seed: 2)) { try Encoder(width: 8, depth: 4, heads: 2) }
    let frozen = FrozenTeacher(teacher)
    func pairs(_ suffix: String) throws -> [LayerPair] {
      try LayerMap.every(2).pairs(student: "blocks.{}\(suffix)", 2, teacher: "blocks.{}\(suffix)", 4)
    }
    let objective = try Objective([
      Objective.Entry(try HiddenStates(layers: pairs(""))),
      Objective.Entry(try AttentionMaps(layers: pairs(".scores"))),
      Objective.Entry(try AttentionMaps(layers: pairs(".probabilities"), measure: .divergence)),
      Objective.Entry(try ValueRelations(layers: pairs(".values"), heads: 4)),
      Objective.Entry(try SoftTargets(temperature: 2)),
    ])
    let inputs = try withRandomStream(RandomStream(seed: 3)) { try Tensor.empty([2, 4, 3]).drawNormal() }
    let batch = try Batch(ids: [5, 6], sequences: inputs, mask: fixture["hidden/mask"])
    try objective.prepare(student: student, teacher: frozen, batch: batch, seed: 1)
    #expect(objective.adapters.map(\.name) == ["terms.0.maps.0.weight", "terms.0.maps.0.bias"])
    let value = try #require(
      try objective.evaluate(
        student: student.trace(inputs, taps: objective.studentTaps),
        teacher: frozen.trace(batch, taps: objective.teacherTaps), batch: batch))
    #expect(value.parts.map(\.count) == [6, 2, 2, 2, 6])
    try value.total.backward()
    #expect(try value.total.item().isFinite)
    for named in student.namedParameters + objective.adapters {
      #expect(try #require(named.tensor.gradient, "\(named.name)").norm().item() > 0, "\(named.name)")
    }
    #expect(teacher.parameters.allSatisfy { $0.gradient == nil })
  }

  final class Encoder: Layer {
    let embedding: Linear
    let blocks: [MultiHeadAttention]
    let head: Linear

    init(width: Int, depth: Int, heads: Int) throws {
      embedding = try Linear(3, width)
      blocks = try (0..<depth).map { _ in try MultiHeadAttention(width, heads: heads) }
      head = try Linear(width, 5)
    }

    func forward(_ input: Tensor) throws -> Tensor {
      try head(blocks.reduce(embedding(input)) { try $0 + $1($0) })
    }
  }
}
