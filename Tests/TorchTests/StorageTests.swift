import Foundation
import TestSupport
import Testing
import Torch

struct StorageTests {
  @Test func elementsGoInAndOut() throws {
    #expect(try Tensor([1, 2, 3] as [Float]).array(of: Float.self) == [1, 2, 3])
    #expect(try Tensor([true, false]).array(of: Bool.self) == [true, false])
    #expect(try Tensor([1, -2] as [Int8]).doubles() == [1, -2])
    #expect(try Tensor([] as [Float]).shape == [0])
    #expect(try Tensor([7], shape: []).item() == 7)
    let matrix = try Tensor((0..<6).map(Float.init), shape: [2, 3])
    #expect(try matrix.transposed(0, 1).floats() == [0, 3, 1, 4, 2, 5], "in row-major order, whatever the strides")
    #expect(matrix.shape == [2, 3] && matrix.strides == [3, 1])
    #expect(try matrix.size(-1) == 3 && matrix.size(-2) == 2 && matrix.size(1) == 3)
  }

  @Test func everyTypeConvertsToNumbers() throws {
    for dtype in DType.allCases {
      let tensor = try Tensor([0.0, 1.0]).to(dtype)
      #expect(tensor.dtype == dtype)
      #expect(try tensor.doubles() == [0, 1], "\(dtype)")
      #expect(try tensor.withBytes { $0.count } == 2 * dtype.byteCount)
    }
  }

  @Test func channelsLastIsReadInRowMajorOrder() throws {
    let plain = try Tensor((0..<24).map(Float.init), shape: [1, 2, 3, 4])
    let last = try plain.contiguous(.channelsLast)
    #expect(last.strides == [24, 1, 8, 2])
    #expect(!last.isContiguous && plain.isContiguous)
    #expect(try last.floats() == plain.floats())
  }

  @Test func aTensorOverMemorySharesIt() throws {
    let buffer = HostBuffer([1, 2, 3, 4] as [Float])
    let tensor = try Tensor(buffer, byteOffset: 8, shape: [2], dtype: .float32)
    #expect(try tensor.floats() == [3, 4])
    try tensor.fill(9)
    #expect(buffer.bytes.loadUnaligned(fromByteOffset: 12, as: Float.self) == 9)
  }

  @Test func theMemoryLivesAsLongAsItsTensor() throws {
    func make() throws -> (Tensor, () -> HostBuffer?) {
      let buffer = HostBuffer([Float](repeating: 5, count: 1000))
      return (try Tensor(buffer, shape: [1000], dtype: .float32), { [weak buffer] in buffer })
    }
    var (tensor, buffer): (Tensor?, () -> HostBuffer?) = try make()
    #expect(buffer() != nil)
    var view = try tensor?.sliced(0, from: 10, to: 20)
    tensor = nil
    #expect(buffer() != nil, "a view keeps it too")
    #expect(try view?.doubles() == [Double](repeating: 5, count: 10))
    view = nil
    #expect(buffer() == nil)
  }

  @Test(arguments: [
    (0, [5]), (4, [4]), (16, [1]), (-4, [1]), (Int.max, [1]), (Int.min, [1]), (0, [-1]), (0, [Int.max]),
    (0, [Int.max / 2, 4]), (2, [1]), (0, [1 << 62]), (8, [3]),
  ])
  func aPartOutsideTheMemoryIsThrown(offset: Int, shape: [Int]) {
    let buffer = HostBuffer([1, 2, 3, 4] as [Float])
    #expect(throws: TorchError.self) { try Tensor(buffer, byteOffset: offset, shape: shape, dtype: .float32) }
  }

  @Test func filesAreMapped() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/numbers"
      try Data([1, 0, 2, 0, 3, 0, 4, 0]).write(to: URL(fileURLWithPath: path))
      let tensor = try Tensor(HostBuffer(mapping: path), byteOffset: 2, shape: [3], dtype: .int16)
      #expect(try tensor.doubles() == [2, 3, 4])
      try tensor.fill(9)
      #expect(try Data(contentsOf: URL(fileURLWithPath: path))[2] == 2, "changes stay private")
      try FileManager.default.removeItem(atPath: path)
      #expect(try tensor.doubles() == [9, 9, 9], "a mapped file may be deleted or replaced")
    }
  }

  @Test func whatCannotBeMappedIsThrown() throws {
    try withTemporaryFolder { folder in
      let missing = try #require(throws: TorchError.self) { try HostBuffer(mapping: "\(folder)/nothing") }
      #expect(missing.message.contains("No such file") && missing.message.contains("\(folder)/nothing"))
      #expect(throws: TorchError.self) { try HostBuffer(mapping: folder) }
      try Data().write(to: URL(fileURLWithPath: "\(folder)/empty"))
      let empty = try HostBuffer(mapping: "\(folder)/empty")
      #expect(try Tensor(empty, shape: [0], dtype: .float32).count == 0)
    }
  }
}
