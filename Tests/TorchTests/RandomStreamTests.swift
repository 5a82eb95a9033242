import TestSupport
import Testing
import Torch

struct RandomStreamTests {
  private func draw(_ stream: RandomStream, _ count: Int = 5) throws -> [Float] {
    try withRandomStream(stream) { try Tensor.empty([count]).drawNormal().array() }
  }

  @Test func aStreamIsItsSeedAndItsName() throws {
    let first = try draw(RandomStream(seed: 1, name: "init"))
    #expect(try draw(RandomStream(seed: 1, name: "init")) == first)
    #expect(try draw(RandomStream(seed: 2, name: "init")) != first)
    #expect(try draw(RandomStream(seed: 1, name: "dropout")) != first)
  }

  @Test func streamsDoNotTouchEachOther() throws {
    let alone = try RandomStream(seed: 1, name: "a")
    let expected = try draw(alone, 3) + draw(alone, 3)
    let stream = try RandomStream(seed: 1, name: "a")
    var found = try draw(stream, 3)
    _ = try draw(RandomStream(seed: 1, name: "b"), 100)
    _ = try Tensor.empty([10]).drawUniform()
    found += try draw(stream, 3)
    #expect(found == expected)
  }

  @Test func aStreamIsSavedAndRestored() throws {
    let stream = try RandomStream(seed: 1)
    _ = try draw(stream, 7)
    let state = try stream.state()
    let expected = try draw(stream, 20)
    #expect(try draw(stream, 20) != expected)
    try stream.restore(state)
    #expect(try draw(stream, 20) == expected)
    let other = try RandomStream(seed: 99)
    try other.restore(state)
    #expect(try draw(other, 20) == expected)
  }

  @Test func aStateThatIsNoneIsThrown() throws {
    let stream = try RandomStream(seed: 1)
    let before = try stream.state()
    #expect(throws: TorchError.self) { try stream.restore([]) }
    #expect(throws: TorchError.self) { try stream.restore([1, 2, 3]) }
    #expect(try stream.state() == before)
  }

  @Test func scopesNest() throws {
    let outer = try RandomStream(seed: 1)
    let inner = try RandomStream(seed: 2)
    #expect(RandomStream.current == nil)
    withRandomStream(outer) {
      #expect(RandomStream.current === outer)
      withRandomStream(inner) { #expect(RandomStream.current === inner) }
      #expect(RandomStream.current === outer)
    }
    #expect(RandomStream.current == nil)
  }

  @Test func dropoutKeepsTheMean() throws {
    try withRandomStream(try RandomStream(seed: 4)) {
      let dropped = try Tensor.ones([100_000]).dropout(0.25)
      let values = Set(try dropped.floats())
      #expect(values == [0, Float(1 / 0.75)])
      try assertClose(dropped.mean().item(), 1, relative: 0.01)
      #expect(try Tensor.ones([10]).dropout(1).doubles() == [Double](repeating: 0, count: 10))
      let same = try Tensor.ones([10])
      #expect(try same.dropout(0) === same)
    }
  }

  @Test(arguments: [0.01, 0.2, 0.5, 0.9], [DType.float32, .bfloat16, .float64])
  func dropoutDropsItsShare(probability: Double, dtype: DType) throws {
    try withRandomStream(try RandomStream(seed: 5)) {
      let count = 200_003  // no multiple of four
      let values = try Tensor.ones([count], dtype: dtype).dropout(probability).doubles()
      let share = Double(values.count { $0 == 0 }) / Double(count)
      assertClose(share, probability, absolute: 5 * (probability * (1 - probability) / Double(count)).squareRoot())
      for value in Set(values) where value != 0 {
        assertClose(value, 1 / (1 - probability), relative: dtype == .bfloat16 ? 4e-3 : 1e-3)
      }
      #expect(Set(values).count == 2)
      // Neighbours do not depend on each other.
      let pairs = zip(values, values.dropFirst()).count { $0 == 0 && $1 == 0 }
      let square = probability * probability
      assertClose(Double(pairs) / Double(count), square, absolute: 8 * (square / Double(count)).squareRoot())
    }
  }

  @Test func dropoutKeepsLayoutAndGradient() throws {
    try withRandomStream(try RandomStream(seed: 6)) {
      let image = try Tensor.full([2, 3, 4, 5], 2).contiguous(.channelsLast).requireGradient()
      let dropped = try image.dropout(0.5)
      #expect(dropped.strides == image.strides && dropped.shape == image.shape)
      try dropped.sum().backward()
      try assertClose(#require(image.gradient) * 2, dropped, "the gradient passes where the value did")
      #expect(try Set(dropped.doubles()) == [0, 4])
      #expect(try Tensor.zeros([0, 3]).dropout(0.5).shape == [0, 3])
      #expect(try Tensor.ones([], dtype: .float32).dropout(0.5).shape == [])
    }
    for wrong in [-0.1, 1.1, .nan] {
      #expect(throws: TorchError.self) { try Tensor.ones([1]).dropout(wrong) }
    }
  }

  @Test func aRandomSourceIsItsSeedAndItsKeys() {
    func numbers(_ source: RandomSource) -> [UInt64] {
      var source = source
      return (0..<4).map { _ in source.next() }
    }
    let first = numbers(RandomSource(seed: 1, "order", 2, 3))
    #expect(numbers(RandomSource(seed: 1, "order", 2, 3)) == first)
    for other in [
      RandomSource(seed: 2, "order", 2, 3), RandomSource(seed: 1, "order", 3, 2), RandomSource(seed: 1, "orde", 2, 3),
      RandomSource(seed: 1, "order", 2), RandomSource(seed: 1),
    ] {
      #expect(Set(numbers(other)).isDisjoint(with: first))
    }
    var source = RandomSource(seed: 5, "uniform")
    let drawn = (0..<10_000).map { _ in source.uniform() }
    #expect(drawn.allSatisfy { (0..<1).contains($0) })
    assertClose(drawn.reduce(0, +) / 10_000, 0.5, absolute: 0.01)
  }
}
