import DistillData
import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

/// A case of a term on layers: activations of student and teacher at pairs of places.
struct LayerTermCase {
  var students: [Tensor]
  var teachers: [Tensor]

  /// Copies of the activations, those of the student with a gradient.
  init(students: [Tensor], teachers: [Tensor]) throws {
    self.students = try students.map { try $0.to(.float32).copied().requireGradient() }
    self.teachers = try teachers.map { try $0.to(.float32).copied() }
  }

  /// The activations under `name/student/0`, `name/teacher/0` and so on.
  init(_ fixture: Fixture, _ name: String) throws {
    let count = fixture.tensors(under: "\(name)/student").count
    try self.init(
      students: (0..<count).map { try fixture["\(name)/student/\($0)"] },
      teachers: (0..<count).map { try fixture["\(name)/teacher/\($0)"] })
  }

  /// The places where `input` has them.
  var pairs: [LayerPair] {
    students.indices.map { LayerPair(student: Tap("student\($0)"), teacher: Tap("teacher\($0)")) }
  }

  /// What a term sees; of some of the examples if `examples` is given.
  func input(progress: Double = 0.5, examples: Range<Int>? = nil) throws -> TermInput {
    let count = examples?.count ?? students[0].shape[0]
    func part(_ tensor: Tensor) throws -> Tensor {
      try examples.map { try tensor.sliced(0, from: $0.lowerBound, to: $0.upperBound) } ?? tensor
    }
    let logits = try Tensor.zeros([count, 2])
    let student = try Dictionary(uniqueKeysWithValues: zip(pairs.map(\.student), students.map(part)))
    let teacher = try Dictionary(uniqueKeysWithValues: zip(pairs.map(\.teacher), teachers.map(part)))
    return TermInput(
      student: Trace(output: logits, activations: student),
      teacher: TeacherTrace(logits: logits, activations: teacher), batch: try .fake(count: count), progress: progress)
  }

  /// Makes the term's own layers, always the same.
  func prepare(_ term: any Term, seed: UInt64 = 7) throws {
    try withRandomStream(try RandomStream(seed: seed, name: "terms")) {
      try withoutGradient { try term.prepare(input()) }
    }
  }

  /// Makes the term's layers, and gives its value after a backward pass.
  @discardableResult
  func evaluate(_ term: any Term, progress: Double = 0.5) throws -> Double {
    try prepare(term)
    let value = try term.sum(input(progress: progress))
    if value.requiresGradient { try value.backward() }
    return try value.item()
  }

  /// The gradient of the last backward pass by the student's activation at a pair.
  func gradient(_ index: Int = 0) throws -> Tensor { try #require(students[index].gradient) }
}

/// Checks a term's value, and its gradients by the student's activations and by the parameters of its own layers, against
/// the reference.
func checkLayerTerm(
  _ fixture: Fixture, _ name: String, relative: Double = 1e-4, sourceLocation: SourceLocation = #_sourceLocation,
  make: ([LayerPair]) throws -> any Term
) throws {
  let example = try LayerTermCase(fixture, name)
  let term = try make(example.pairs)
  try example.prepare(term)
  let state = fixture.tensors(under: "\(name)/adapter")
  if !state.isEmpty {
    try #require(term.adapter, sourceLocation: sourceLocation).load(Checkpoint(tensors: state))
  }
  let value = try term.sum(example.input())
  try value.backward()
  try assertClose(
    value.item(), fixture["\(name)/value"].item(), relative: 1e-5, absolute: 1e-6, "\(name) value",
    sourceLocation: sourceLocation)
  for index in example.students.indices {
    try assertClose(
      example.gradient(index), fixture["\(name)/student-gradient/\(index)"], relative: relative, absolute: 2e-6,
      "\(name) gradient by student \(index)", sourceLocation: sourceLocation)
  }
  for parameter in term.adapter?.namedParameters ?? [] {
    let gradient = try #require(parameter.tensor.gradient, "\(parameter.name)", sourceLocation: sourceLocation)
    try assertClose(
      gradient, fixture["\(name)/adapter-gradient/\(parameter.name)"], relative: relative, absolute: 2e-6,
      "\(name) gradient by \(parameter.name)", sourceLocation: sourceLocation)
  }
}

/// Normal numbers, the same for a seed.
func normal(_ shape: [Int], seed: UInt64 = 1) throws -> Tensor {
  try withRandomStream(try RandomStream(seed: seed, name: "numbers")) { try Tensor.empty(shape).drawNormal() }
}

/// Checks that a term neither overflows nor loses its gradient at activations of zero, very large and very small ones.
func checkExtremes(
  shape: [Int], sourceLocation: SourceLocation = #_sourceLocation, make: ([LayerPair]) throws -> any Term
) throws {
  let ordinary = try normal(shape)
  let zero = try ordinary.zerosLike()
  let cases = [(zero, ordinary), (ordinary, zero), (zero, zero)]
  let scaled = try [1e15, 1e-15].map { (try normal(shape, seed: 2) * $0, ordinary) }
  for (student, teacher) in cases + scaled {
    let example = try LayerTermCase(students: [student], teachers: [teacher])
    let value = try example.evaluate(make(example.pairs))
    #expect(value.isFinite, sourceLocation: sourceLocation)
    #expect(try example.gradient().isFinite().all(), sourceLocation: sourceLocation)
  }
}

/// Checks that a term is zero, with a gradient of zero, where student and teacher are the same.
func checkZeroWhereAlike(
  shape: [Int], sourceLocation: SourceLocation = #_sourceLocation, make: ([LayerPair]) throws -> any Term
) throws {
  for shape in [shape, [1] + shape.dropFirst()] {
    let features = try normal(shape)
    let example = try LayerTermCase(students: [features], teachers: [features])
    let value = try example.evaluate(make(example.pairs))
    assertClose(value, 0, absolute: 1e-5, sourceLocation: sourceLocation)
    let gradient = try example.gradient()
    try assertClose(gradient, gradient.zerosLike(), absolute: 1e-5, sourceLocation: sourceLocation)
  }
}

/// Checks that the sums over two parts of a batch add up to the sum over all of it.
func checkParts(
  _ example: LayerTermCase, sourceLocation: SourceLocation = #_sourceLocation, make: ([LayerPair]) throws -> any Term
) throws {
  let term = try make(example.pairs)
  try example.prepare(term)
  let count = example.students[0].shape[0]
  let whole = try term.sum(example.input()).item()
  let parts = try [0..<1, 1..<count].map { try term.sum(example.input(examples: $0)).item() }
  assertClose(parts[0] + parts[1], whole, relative: 1e-5, absolute: 1e-6, sourceLocation: sourceLocation)
}

/// Checks that a term refuses activations with an error that names the place and the shape.
func checkRefusal(
  students: [[Int]], teachers: [[Int]], mentions words: [String], sourceLocation: SourceLocation = #_sourceLocation,
  make: ([LayerPair]) throws -> any Term
) throws {
  let example = try LayerTermCase(students: students.map { try normal($0) }, teachers: teachers.map { try normal($0) })
  let term = try make(example.pairs)
  let error = #expect(throws: DistillationError.self, sourceLocation: sourceLocation) { try example.prepare(term) }
  for word in words {
    #expect(error?.description.contains(word) == true, "\(word)", sourceLocation: sourceLocation)
  }
}

/// Checks that a term which has layers of its own says so when it is used without them, makes the same ones from the same
/// seed and others from another, and trains them.
func checkAdapter(
  shapes: (student: [Int], teacher: [Int]), sourceLocation: SourceLocation = #_sourceLocation,
  make: ([LayerPair]) throws -> any Term
) throws {
  let example = try LayerTermCase(students: [normal(shapes.student)], teachers: [normal(shapes.teacher, seed: 2)])
  let unprepared = try make(example.pairs)
  #expect(throws: DistillationError.self, sourceLocation: sourceLocation) { try unprepared.sum(example.input()) }
  let states = try [(7, 7), (7, 8)].map { seeds in
    try [seeds.0, seeds.1].map { seed in
      let term = try make(example.pairs)
      try example.prepare(term, seed: UInt64(seed))
      let parameters = try #require(term.adapter, sourceLocation: sourceLocation).namedParameters
      #expect(parameters.allSatisfy { $0.tensor.requiresGradient }, sourceLocation: sourceLocation)
      return try parameters.flatMap { try $0.tensor.doubles() }
    }
  }
  #expect(states[0][0] == states[0][1], sourceLocation: sourceLocation)
  #expect(states[1][0] != states[1][1], sourceLocation: sourceLocation)
}
