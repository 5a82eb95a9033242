import Torch

/// The matrix products of an MLP student's step and nothing else, and how fast this machine multiplies matrices at all.
///
/// A step of a layer with `in` inputs and `out` outputs multiplies X Wᵀ forward, and Gᵀ X and G W backward, 2 · batch · in ·
/// out operations each; the first layer needs no gradient of its input.
enum Products {
  struct Result: Encodable {
    var program = "distill-products"
    /// Billions of operations per second of a product of two 2048 × 2048 matrices.
    var gflopsFloat32: Double
    var gflopsBfloat16: Double
    /// Operations of a step's products.
    var stepFlops: Double
    /// What the products of a step would take at the float32 rate, and what they take at their own shapes.
    var secondsAtRate: Double
    var secondsAtOwnShapes: Double
    var threads: Int
    var versions: [String: String]
  }

  static func measure(_ options: Options) throws -> Result {
    try TorchRuntime.setThreadCount(options.threads)
    TorchRuntime.keepFreedMemory()
    let widths = [784] + (try options.integers("student", [300, 300])) + [10]
    let batch = try options.integer("batch", 128)
    return try withoutGradient {
      let products = try stepProducts(widths, batch)
      let rates = try [DType.float32, .bfloat16].map(gflops)
      let flops = products.map(\.flops).reduce(0, +)
      return Result(
        gflopsFloat32: rates[0], gflopsBfloat16: rates[1], stepFlops: flops, secondsAtRate: flops / rates[0] / 1e9,
        secondsAtOwnShapes: try seconds(repeats: 500) {
          for product in products { _ = try linear(product.left, weight: product.right, bias: nil) }
        }, threads: try TorchRuntime.threadCount, versions: ["libtorch": try TorchRuntime.version])
    }
  }

  /// left rightᵀ, as our layers compute all products.
  private struct Product {
    var left: Tensor
    var right: Tensor
    var flops: Double { 2 * left.shape.map(Double.init).reduce(1, *) * Double(right.shape[0]) }
  }

  private static func stepProducts(_ widths: [Int], _ batch: Int) throws -> [Product] {
    var products: [Product] = []
    for (index, (input, output)) in zip(widths, widths.dropFirst()).enumerated() {
      let x = try Tensor.ones([batch, input])
      let weight = try Tensor.ones([output, input])
      let gradient = try Tensor.ones([batch, output])
      products.append(Product(left: x, right: weight))
      products.append(Product(left: try gradient.transposed(0, 1), right: try x.transposed(0, 1)))
      if index > 0 { products.append(Product(left: gradient, right: try weight.transposed(0, 1))) }
    }
    return products
  }

  private static func gflops(_ type: DType) throws -> Double {
    let size = 2048
    let matrix = try Tensor.ones([size, size]).to(type)
    let elapsed = try seconds(repeats: 15) { _ = try linear(matrix, weight: matrix, bias: nil) }
    return 2 * Double(size * size * size) / elapsed / 1e9
  }

  /// The median of some repeats, after a few that do not count.
  private static func seconds(repeats: Int, _ work: () throws -> Void) throws -> Double {
    let clock = ContinuousClock()
    for _ in 0..<repeats / 5 { try work() }
    return Report.median(try (0..<repeats).map { _ in Report.seconds(try clock.measure(work)) })
  }
}
