import TestSupport
import Testing
import Torch

struct AutogradTests {
  @Test func backwardAddsUp() throws {
    let x = try Tensor([2.0, 3.0]).requireGradient()
    #expect(x.gradient == nil)
    try x.squared().sum().backward()
    #expect(try x.gradient?.doubles() == [4, 6])
    try x.squared().sum().backward()
    #expect(try x.gradient?.doubles() == [8, 12])
    try x.setGradient(nil)
    #expect(x.gradient == nil)
  }

  @Test func backwardFromSeveralRootsWithGivenGradients() throws {
    let x = try Tensor([2.0, 3.0]).requireGradient()
    let first = try x.squared()
    let second = try x * 5
    let sum = try x.sum()
    try Autograd.backward(roots: [first, second, sum], gradients: [Tensor([1.0, 10.0]), Tensor([0.0, 2.0]), nil])
    #expect(try x.gradient?.doubles() == [4 + 0 + 1, 60 + 10 + 1])
  }

  @Test func gradientsAreFoundWithoutBeingStored() throws {
    let x = try Tensor([2.0]).requireGradient()
    let y = try Tensor([3.0]).requireGradient()
    let unused = try Tensor([1.0]).requireGradient()
    let found = try Autograd.gradients(of: [x * y], withRespectTo: [x, y, unused])
    #expect(try found.map { try $0?.doubles() } == [[3], [2], nil])
    #expect(x.gradient == nil)
  }

  @Test func secondDerivatives() throws {
    let x = try Tensor([2.0]).requireGradient()
    let first = try Autograd.gradients(of: [x.power(3)], withRespectTo: [x], createGraph: true)
    try #require(first[0]).backward()
    #expect(try x.gradient?.doubles() == [12])
  }

  @Test func mistakesAreThrown() throws {
    let x = try Tensor([2.0, 3.0]).requireGradient()
    #expect(throws: TorchError.self) { try x.squared().backward() }
    #expect(throws: TorchError.self) { try Tensor([1.0]).backward() }
    #expect(throws: TorchError.self) { try x.squared().backward(gradient: .zeros([3], dtype: .float64)) }
    #expect(throws: TorchError.self) { try Autograd.backward(roots: [x.sum(), x.sum()], gradients: [nil]) }
    let sum = try x.squared().sum()
    try sum.backward()
    #expect(throws: TorchError.self) { try sum.backward() }
  }

  private struct Planned: Error {}

  @Test func scopesWithoutGradient() throws {
    let x = try Tensor([2.0]).requireGradient()
    try withoutGradient {
      #expect(try !Autograd.isRecording)
      #expect(try !x.squared().requiresGradient)
      let inner = try withGradient { try x.squared() }
      #expect(inner.requiresGradient)
      #expect(try !Autograd.isRecording)
    }
    #expect(try x.squared().requiresGradient)
    #expect(throws: Planned.self) { try withoutGradient { throw Planned() } }
    #expect(try Autograd.isRecording, "put back after an error")
    #expect(try !x.squared().detached().requiresGradient)
  }

  @Test func reluHasNoGradientAtZero() throws {
    for dtype in [DType.float32, .bfloat16] {
      let x = try Tensor([-1.0, 0.0, 2.0, -.infinity]).to(dtype).requireGradient()
      let y = try x.relu()
      #expect(try y.doubles() == [0, 0, 2, 0])
      try y.sum().backward()
      #expect(try x.gradient?.doubles() == [0, 0, 1, 0])
    }
    #expect(try Tensor([Double.nan]).relu().item().isNaN)
  }
}

struct AutocastTests {
  private struct Planned: Error {}

  @Test func matrixProductsAreComputedInTheGivenType() throws {
    let x = try Tensor.ones([2, 2])
    try withAutocast(.bfloat16) {
      #expect(try x.matmul(x).dtype == .bfloat16)
      try withoutAutocast {
        #expect(try x.matmul(x).dtype == .float32)
        let inner = try withAutocast(.float16) { try x.matmul(x) }
        #expect(inner.dtype == .float16)
        #expect(try x.matmul(x).dtype == .float32)
      }
      #expect(try x.matmul(x).dtype == .bfloat16)
    }
    #expect(try x.matmul(x).dtype == .float32)
  }

  @Test func theModeIsPutBackAfterAnError() throws {
    let x = try Tensor.ones([2, 2])
    #expect(throws: Planned.self) { try withAutocast { throw Planned() } }
    #expect(try x.matmul(x).dtype == .float32)
    try withAutocast {
      #expect(throws: Planned.self) { try withoutAutocast { throw Planned() } }
      let product = try x.matmul(x)
      #expect(product.dtype == .bfloat16)
    }
  }

  @Test func weightsThatChangeAreNotTakenFromBefore() throws {
    let weight = try Tensor.ones([2, 2]).requireGradient()
    let x = try Tensor.ones([1, 2])
    for step in 1...3 {
      let y = try withAutocast { try linear(x, weight: weight, bias: nil) }
      #expect(try y.doubles() == [Double(2 * step), Double(2 * step)])
      try withoutGradient { try weight.add(.ones([2, 2])) }
    }
  }

  @Test func gradientsAreFoundThroughIt() throws {
    let weight = try Tensor.ones([2, 2]).requireGradient()
    let y = try withAutocast { try linear(.ones([1, 2]), weight: weight, bias: nil) }
    try y.sum().backward()
    #expect(weight.gradient?.dtype == .float32)
    #expect(try weight.gradient?.doubles() == [1, 1, 1, 1])
  }
}
