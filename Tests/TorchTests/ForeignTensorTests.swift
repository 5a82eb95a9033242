import Testing

@testable import Torch

/// libtorch knows kinds of tensors that `Tensor` cannot describe. They are thrown where they would come in, and not read
/// as something else.
struct ForeignTensorTests {
  static let makers: [(name: String, word: String, make: @Sendable () throws -> Void)] = [
    (
      "complex", "ComplexFloat",
      { _ = try Dispatcher.call(Operator("aten::view_as_complex"), Tensor.zeros([3, 2])) }
    ),
    (
      "quantized", "QInt8",
      { _ = try Dispatcher.call(Operator("aten::quantize_per_tensor"), Tensor.ones([4]), 0.1, 0, 12) }
    ),
    ("sparse", "Sparse", { _ = try Dispatcher.call(Operator("aten::to_sparse"), Tensor.ones([2, 2])) }),
    (
      "one of several", "ComplexFloat",
      { _ = try Dispatcher.callTuple(Operator("aten::linalg_eig"), Tensor.identity(2)) }
    ),
    ("of too many dimensions", "17", { _ = try Tensor.zeros([Int](repeating: 1, count: 17)) }),
  ]

  @Test(arguments: makers.map(\.name))
  func isThrown(name: String) throws {
    let maker = try #require(Self.makers.first { $0.name == name })
    let error = try #require(throws: TorchError.self, performing: maker.make)
    #expect(error.message.contains(maker.word) && error.message.contains("not supported"), "\(error)")
  }

  /// A result of a kind that was not asked for is thrown, too.
  @Test func aResultOfAnotherKindIsThrown() throws {
    let tensor = try Tensor.ones([4])
    #expect(throws: TorchError.self) { _ = try Dispatcher.call(Operator("aten::split", overload: "Tensor"), tensor, 2) }
    #expect(throws: TorchError.self) { _ = try Dispatcher.callList(Operator("aten::abs"), tensor) }
    #expect(try tensor.sum().item() == 4)
  }
}
