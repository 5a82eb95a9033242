import Testing
import Torch

/// Whatever goes wrong in libtorch is thrown: nothing here may end the process.
struct ErrorTests {
  @Test func aMisfitOfShapesIsThrownWithTheShapes() throws {
    let left = try Tensor.zeros([3, 4])
    let right = try Tensor.zeros([3, 4])
    let error = try #require(throws: TorchError.self) { try left.matmul(right) }
    #expect(error.operation == "aten::matmul")
    #expect(error.shapes == [[3, 4], [3, 4]])
    #expect(error.dtypes == [.float32, .float32])
    #expect(error.message.contains("cannot be multiplied"))
    #expect(!error.message.contains("Exception raised from"), "the C++ stack trace is left out")
    #expect(error.description.contains("[3, 4] float32"))
  }

  typealias Mistake = @Sendable () throws -> Void

  static let mistakes: [(name: String, body: Mistake)] = [
    ("add", { _ = try Tensor.zeros([2]) + Tensor.zeros([3]) }),
    ("reshape", { _ = try Tensor.zeros([6]).reshaped([4, 2]) }),
    ("reshape with two unknowns", { _ = try Tensor.zeros([6]).reshaped([-1, -1]) }),
    ("negative size", { _ = try Tensor.zeros([-1]) }),
    ("enormous size", { _ = try Tensor.zeros([Int.max / 2, 8]) }),
    ("more memory than there is", { _ = try Tensor.empty([1 << 46], dtype: .float64) }),
    ("transpose", { _ = try Tensor.zeros([2]).transposed(0, 5) }),
    ("select", { _ = try Tensor.zeros([2]).selected(0, 2) }),
    ("gather", { _ = try Tensor.zeros([2, 2]).gathered(Tensor([5])) }),
    ("permute", { _ = try Tensor.zeros([2, 2]).permuted([0, 0]) }),
    ("expand", { _ = try Tensor.zeros([2]).broadcast(to: [3]) }),
    ("concatenate nothing", { _ = try Tensor.concatenated([]) }),
    ("stack", { _ = try Tensor.stacked([.zeros([1]), .zeros([2])]) }),
    ("split", { _ = try Tensor.zeros([2]).split(-1) }),
    ("top k", { _ = try Tensor.zeros([2]).topK(3) }),
    ("one hot", { _ = try Tensor([3]).oneHot(classCount: 2) }),
    ("label out of range", { _ = try Tensor.zeros([1, 3]).crossEntropySum(labels: Tensor([3])) }),
    (
      "convolution",
      {
        _ = try convolution(
          .zeros([1, 3, 4, 4]), weight: .zeros([2, 4, 3, 3]), bias: nil, stride: [1, 1], padding: [0, 0],
          dilation: [1, 1], groups: 1)
      }
    ),
    ("pooling", { _ = try Tensor.zeros([1, 1, 2, 2]).maxPool2d([3, 3], stride: [1, 1], padding: [0, 0]) }),
    ("embedding", { _ = try embedding(Tensor([9]), weight: .zeros([3, 2])) }),
    ("types", { _ = try Tensor.zeros([2, 2]).matmul(.zeros([2, 2], dtype: .int64)) }),
    ("bits", { try Tensor.zeros([2]).copy(from: .zeros([3])) }),
    ("probability", { try Tensor.zeros([2]).drawBernoulli(2) }),
    ("deviation", { try Tensor.zeros([2]).drawNormal(standardDeviation: -1) }),
    ("bounds", { try Tensor.zeros([2]).drawUniform(from: 1, to: 0) }),
    ("gradient of whole numbers", { try Tensor([1]).requireGradient() }),
    ("gradient of another shape", { try Tensor.zeros([2]).setGradient(.zeros([3])) }),
    ("elements for a shape", { _ = try Tensor([1.0, 2.0], shape: [3]) }),
    ("elements for an overflowing shape", { _ = try Tensor([1.0], shape: [Int.max, 4]) }),
    ("a size that is not there", { _ = try Tensor.zeros([2, 3]).size(2) }),
    ("a size before the first", { _ = try Tensor.zeros([2, 3]).size(-3) }),
    ("a size of a scalar", { _ = try Tensor.zeros([]).size(0) }),
    (
      "gradients for other outputs",
      {
        let root = try Tensor.ones([1]).requireGradient()
        _ = try Autograd.gradients(of: [root * 2, root * 3], withRespectTo: [root], outputGradients: [nil])
      }
    ),
    ("item", { _ = try Tensor([1.0, 2.0]).item() }),
    ("array", { let _: [Int] = try Tensor([1.0, 2.0]).array() }),
    ("threads", { try TorchRuntime.setThreadCount(0) }),
    ("too many threads", { try TorchRuntime.setThreadCount(.max) }),
    ("a device beyond all", { try Device(.cuda, index: .max).synchronize() }),
  ]

  @Test(arguments: mistakes.map(\.name))
  func aMistakeIsThrown(name: String) throws {
    let mistake = try #require(Self.mistakes.first { $0.name == name })
    let error = try #require(throws: TorchError.self, performing: mistake.body)
    #expect(!error.operation.isEmpty && !error.message.isEmpty)
  }

  @Test func aFailedCallLeavesEverythingUsable() throws {
    for _ in 0..<100 { #expect(throws: TorchError.self) { try Tensor.zeros([2]) + Tensor.zeros([3]) } }
    #expect(try (Tensor.ones([2]) + Tensor.ones([2])).doubles() == [2, 2])
  }
}

struct DeviceTests {
  @Test func namesAreRead() {
    #expect(Device("cpu") == .cpu)
    #expect(Device("cuda") == .cuda)
    #expect(Device("cuda:2") == Device(.cuda, index: 2))
    #expect(Device("mps") == .mps)
    for wrong in ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cpu:1", "cuda:1:2", ":0"] {
      #expect(Device(wrong) == nil, "\(wrong)")
    }
    #expect(Device(.cuda, index: 2).description == "cuda:2")
  }

  @Test func theProcessorIsThere() throws { #expect(try Device.cpu.isAvailable) }

  @Test func aDeviceThatIsNotThereIsThrown() throws {
    for device in [Device.cuda, .mps, Device(.cuda, index: 63)] where try !device.isAvailable {
      #expect(throws: TorchError.self) { try Tensor.zeros([2], device: device) }
      #expect(throws: TorchError.self) { try Tensor.zeros([2]).to(device) }
      #expect(throws: TorchError.self) { try RandomStream(seed: 1, device: device) }
    }
    #expect(try !Device(.cuda, index: 63).isAvailable)
    #expect(try !Device(.cuda, index: .max).isAvailable)
  }

  @Test func theVersionIsKnown() throws { #expect(try TorchRuntime.version.hasPrefix("2.")) }
}
