import TestSupport
import Testing
import Torch

/// Operators whose arguments are easily mixed up, by hand-made numbers.
struct OperatorTests {
  let matrix = try! Tensor([1.0, 2, 3, 4, 5, 6], shape: [2, 3])

  @Test func arithmetic() throws {
    let x = try Tensor([1.0, 4])
    let y = try Tensor([2.0, 5])
    #expect(try (x + y).doubles() == [3, 9])
    #expect(try (x - y).doubles() == [-1, -1])
    #expect(try (10 - x).doubles() == [9, 6])
    #expect(try (x - 1).doubles() == [0, 3])
    #expect(try (x * y).doubles() == [2, 20])
    #expect(try (x / y).doubles() == [0.5, 0.8])
    #expect(try (8 / x).doubles() == [8, 2])
    #expect(try (-x).doubles() == [-1, -4])
    #expect(try x.clamped(from: 2).doubles() == [2, 4])
    #expect(try x.clamped(to: 2).doubles() == [1, 2])
    #expect(try x.isGreater(than: 1).choose(x, y).doubles() == [2, 4])
    #expect(try x.masked(where: x.equals(4), with: 0).doubles() == [1, 0])
    try x.add(y, scale: 2)
    #expect(try x.doubles() == [5, 14])
    try x.multiply(by: 0.5)
    #expect(try x.doubles() == [2.5, 7])
    let count = try Tensor.zeros([], dtype: .int64)
    try count.add(1)
    try count.add(2)
    #expect(try count.item() == 3 && count.dtype == .int64)
  }

  @Test func reductions() throws {
    #expect(try matrix.sum().item() == 21)
    #expect(try matrix.sum(along: 0).doubles() == [5, 7, 9])
    #expect(try matrix.sum(along: 1, keepDimensions: true).shape == [2, 1])
    #expect(try matrix.mean(along: -1).doubles() == [2, 5])
    #expect(try matrix.maximum(along: 0).doubles() == [4, 5, 6])
    #expect(try matrix.minimum(along: 1).doubles() == [1, 4])
    #expect(try matrix.argumentOfMaximum(along: 1).doubles() == [2, 2])
    #expect(try matrix.variance(along: 1).doubles() == [1, 1])
    try assertClose(matrix.variance(along: 1, correction: 0), Tensor([2.0 / 3, 2.0 / 3]))
    try assertClose(matrix.norm().item(), 91.0.squareRoot())
    let top = try matrix.topK(2)
    #expect(try top.values.doubles() == [3, 2, 6, 5] && top.indices.doubles() == [2, 1, 2, 1])
    #expect(try Tensor([0, 2, 2]).binCount(minimumLength: 4).doubles() == [1, 0, 2, 0])
    #expect(try matrix.isFinite().all())
    try assertClose(Tensor([1e4, 1e4]).logSumExp(along: 0).item(), 1e4 + 0.693147180559945, relative: 1e-12)
  }

  @Test func shapes() throws {
    #expect(try matrix.transposed(0, 1).doubles() == [1, 4, 2, 5, 3, 6])
    #expect(try matrix.sliced(1, from: 1, to: 3).doubles() == [2, 3, 5, 6])
    #expect(try matrix.selected(0, 1).doubles() == [4, 5, 6])
    #expect(try matrix.gathered(Tensor([1, 0, 1])).doubles() == [4, 5, 6, 1, 2, 3, 4, 5, 6])
    #expect(try matrix.picked(Tensor([2, 0], shape: [2, 1]), along: 1).doubles() == [3, 4])
    #expect(try Tensor.concatenated([matrix, matrix], along: 1).shape == [2, 6])
    #expect(try Tensor.stacked([matrix, matrix]).shape == [2, 2, 3])
    #expect(try matrix.split(2, along: 1).map(\.shape) == [[2, 2], [2, 1]])
    #expect(try matrix.flipped(1).doubles() == [3, 2, 1, 6, 5, 4])
    #expect(try matrix.padded([1, 0]).doubles() == [0, 1, 2, 3, 0, 4, 5, 6])
    #expect(try Tensor([1, 0]).oneHot(classCount: 3).doubles() == [0, 1, 0, 1, 0, 0])
    #expect(try Tensor.range(2, 8, step: 3).doubles() == [2, 5])
  }

  @Test func softmaxIsStable() throws {
    let x = try Tensor([1e4, -1e4, 0])
    #expect(try x.softmax().doubles() == [1, 0, 0])
    #expect(try x.logSoftmax().doubles() == [0, -2e4, -1e4])
  }

  @Test func aDescriptionShowsShapeAndFirstElements() throws {
    #expect(matrix.description == "Tensor([2, 3], float64) [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]")
    #expect(try Tensor.range(0, 20).description == "Tensor([20], int64) [0, 1, 2, 3, 4, 5, 6, 7, …]")
    #expect(try Tensor([7], shape: []).description == "Tensor([], int64) [7]")
    #expect(try Tensor([Int.max, Int.min]).description == "Tensor([2], int64) [\(Int.max), \(Int.min)]")
    #expect(try Tensor([true, false]).description == "Tensor([2], bool) [1, 0]")
  }
}
