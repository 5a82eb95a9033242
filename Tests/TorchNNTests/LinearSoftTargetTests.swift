import TestSupport
import Testing
import Torch
import TorchNN

/// The losses of a linear layer that is never computed as a whole, against PyTorch's
/// (scripts/fixtures/linear_soft_targets.py), those of the logits, and differences.
struct LinearSoftTargetTests {
  static let divergences = ["forward", "reverse"]

  /// A student and its teacher with random weights.
  struct Pair {
    var features: Tensor
    var weight: Tensor
    var bias: Tensor?
    var teacher: LinearOutput
    var labels: Tensor

    init(
      rows: Int, classes: Int, width: Int = 3, scale: Double = 1, bias: Bool = true, dtype: DType = .float32
    ) throws {
      let stream = try RandomStream(seed: 7, name: "pair")
      func normal(_ shape: [Int], _ deviation: Double) throws -> Tensor {
        try withRandomStream(stream) {
          try Tensor.empty(shape).drawNormal(standardDeviation: deviation).to(.bfloat16).to(dtype)
        }
      }
      features = try normal([rows, width], 1)
      weight = try normal([classes, width], scale)
      self.bias = bias ? try normal([classes], 1) : nil
      teacher = LinearOutput(
        features: try normal([rows, width + 1], 1), weight: try normal([classes, width + 1], scale),
        bias: bias ? try normal([classes], 1) : nil)
      labels = try Tensor((0..<rows).map { $0 % 3 == 1 ? -1 : $0 * 7919 % classes })
    }

    /// What comes of a loss: it, and its gradients by features, weight and bias.
    func results(_ dtype: DType, _ loss: (LinearOutput) throws -> Tensor) throws -> [Tensor] {
      let inputs = try [features, weight, bias].compactMap { try $0?.to(dtype).copied().requireGradient() }
      let total = try loss(
        LinearOutput(features: inputs[0], weight: inputs[1], bias: inputs.count > 2 ? inputs[2] : nil))
      try total.backward()
      return [try total.detached()] + inputs.compactMap(\.gradient)
    }

    /// The same from logits, in float64.
    func expected(
      temperature: Double, isReverse: Bool = false, soft: Double, hard: Double
    ) throws -> [Tensor] {
      try results(.float64) { student in
        let logits = try student.logits()
        let q = try (logits / temperature).logSoftmax()
        let teacher = LinearOutput(
          features: try teacher.features.to(.float64), weight: try teacher.weight.to(.float64),
          bias: try teacher.bias?.to(.float64))
        let p = try (teacher.logits() / temperature).logSoftmax()
        let divergence = try isReverse ? (q.exponential() * (q - p)).sum() : (p.exponential() * (p - q)).sum()
        return try divergence * (soft * temperature * temperature)
          + crossEntropy(logits: logits, labels: labels).sum * hard
      }
    }
  }

  /// Differences in the size of a tensor's largest element: single elements are sums in which much cancels.
  private func assertNear(_ actual: [Tensor], _ expected: [Tensor], _ tolerance: Double) throws {
    #expect(actual.count == expected.count)
    for (index, (actual, expected)) in zip(actual, expected).enumerated() {
      let largest = try expected.absolute().maximum().item()
      try assertClose(
        actual, expected, relative: tolerance, absolute: tolerance * max(largest, 1e-3), "result \(index)")
    }
  }

  @Test(arguments: divergences, ["1", "2.5", "20"])
  func equalsPyTorch(divergence: String, temperature: String) throws {
    let fixture = try Fixture("linear-soft-targets")
    for (type, tolerance) in [(DType.float64, 1e-10), (.float32, 2e-5)] {
      let inputs = try ["features", "weight", "bias"].map { try fixture[$0].to(type).requireGradient() }
      let loss = try linearSoftTargetLoss(
        student: LinearOutput(features: inputs[0], weight: inputs[1], bias: inputs[2]),
        teacher: .layer(
          LinearOutput(
            features: fixture["teacher/features"].to(type), weight: fixture["teacher/weight"].to(type),
            bias: fixture["teacher/bias"].to(type))),
        labels: fixture["labels"], temperature: #require(Double(temperature)), isReverse: divergence == "reverse",
        softWeight: 0.7, hardWeight: 0.3)
      let key = "\(divergence)/T=\(temperature)"
      try assertClose(loss.soft.item(), fixture["\(key)/soft"].item(), relative: tolerance)
      try assertClose(loss.hard.item(), fixture["hard"].item(), relative: tolerance)
      try assertClose(loss.total.item(), fixture["\(key)/total"].item(), relative: tolerance)
      try loss.total.backward()
      for (name, input) in zip(["features", "weight", "bias"], inputs) {
        try assertClose(
          #require(input.gradient).to(.float64), fixture["\(key)/gradient/\(name)"], relative: tolerance,
          absolute: tolerance * 10, name)
      }
    }
  }

  /// One class, one row, fewer classes than a vector has numbers, several blocks of classes, several chunks of rows; and the last of
  /// each is shorter than the others.
  @Test(arguments: [(1, 1), (4, 1), (1, 3), (1, 5000), (3, 17), (70, 2050), (5, 4096), (300, 40_007)], [false, true])
  func equalsTheLossOfLogits(shape: (rows: Int, classes: Int), isReverse: Bool) throws {
    let pair = try Pair(rows: shape.rows, classes: shape.classes)
    let expected = try pair.expected(temperature: 3, isReverse: isReverse, soft: 0.4, hard: 0.8)
    let found = try pair.results(.float32) {
      try linearSoftTargetLoss(
        student: $0, teacher: .layer(pair.teacher), labels: pair.labels, temperature: 3, isReverse: isReverse,
        softWeight: 0.4, hardWeight: 0.8
      ).total
    }
    try assertNear(found, expected, 2e-5)
    let fromLogits = try pair.results(.float32) {
      try linearSoftTargetLoss(
        student: $0, teacher: .logits(pair.teacher.logits()), labels: pair.labels, temperature: 3,
        isReverse: isReverse, softWeight: 0.4, hardWeight: 0.8
      ).total
    }
    try assertNear(fromLogits, expected, 2e-5)
  }

  /// Vocabularies are padded, by whole blocks of classes and by single ones.
  @Test(arguments: [false, true], [DType.float32, .float64])
  func maskedClassesAreAsIfTheyWereNotThere(isReverse: Bool, type: DType) throws {
    let classes = 5000
    let masked = Array(0..<2048) + [2050] + Array(4096..<classes)
    let kept = (0..<classes).filter { !masked.contains($0) }
    let full = try Pair(rows: 4, classes: classes, dtype: type)
    let labels = try Tensor([2048, -1, 2049, 4000])
    let mask = try Tensor((0..<classes).map { Float($0 < 2048 || $0 == 2050 || $0 >= 4096 ? -Float.infinity : 0) }).to(
      type)
    let places = try Tensor(kept.map { Int64($0) })
    func gathered(_ tensor: Tensor?) throws -> Tensor { try #require(tensor).gathered(places) }
    func loss(_ inputs: [Tensor], _ teacher: LinearOutput, _ labels: Tensor, hasTeacher: Bool) throws -> Tensor {
      try linearSoftTargetLoss(
        student: LinearOutput(features: inputs[0], weight: inputs[1], bias: inputs[2]),
        teacher: hasTeacher ? .layer(teacher) : nil, labels: labels, temperature: 2, isReverse: isReverse,
        softWeight: 0.4, hardWeight: 0.8
      ).total
    }
    for hasTeacher in [true, false] {
      let bias = try #require(full.bias), teacherBias = try #require(full.teacher.bias)
      var teacher = full.teacher
      teacher.features = try teacher.features.to(type)
      teacher.weight = try teacher.weight.to(type)
      teacher.bias = try teacherBias + mask
      let own = try [full.features, full.weight, try bias + mask].map { try $0.copied().requireGradient() }
      let found = try loss(own, teacher, labels, hasTeacher: hasTeacher)
      try found.backward()
      let small = try [full.features, gathered(full.weight), gathered(bias)].map { try $0.copied().requireGradient() }
      let smallTeacher = LinearOutput(
        features: teacher.features, weight: try gathered(teacher.weight), bias: try gathered(teacherBias))
      let newLabels = try Tensor([2048, -1, 2049, 4000].map { label in Int64(kept.firstIndex(of: label) ?? -1) })
      let expected = try loss(small, smallTeacher, newLabels, hasTeacher: hasTeacher)
      try expected.backward()
      try assertClose(found.item(), expected.item(), relative: 1e-5)
      let gradients = try own.map { try #require($0.gradient) }
      let others = try small.map { try #require($0.gradient) }
      try assertNear(
        [gradients[0], gathered(gradients[1]), gathered(gradients[2])], others, 1e-4)
      #expect(try gradients[1].absolute().sum().item().isFinite)
      #expect(try gradients[2].gathered(Tensor([Int64(0), 2050, 4999])).absolute().sum().item() == 0)
    }
  }

  @Test func aLayerWithoutClassesIsRefused() throws {
    #expect(throws: TorchError.self) {
      try linearSoftTargetLoss(
        student: LinearOutput(features: Tensor.ones([2, 3]), weight: Tensor.ones([0, 3])), labels: Tensor([-1, -1]))
    }
  }

  /// At a low temperature one class has nearly everything; at a high one all have nearly the same, and what is left of
  /// their differences is multiplied with T².
  @Test(arguments: [0.01, 1.0, 20, 500], [0.0, 1, 3000])
  func staysRightAtExtremes(temperature: Double, scale: Double) throws {
    let pair = try Pair(rows: 9, classes: 2500, scale: scale)
    for isReverse in [false, true] {
      let found = try pair.results(.float32) {
        try linearSoftTargetLoss(
          student: $0, teacher: .layer(pair.teacher), labels: pair.labels, temperature: temperature,
          isReverse: isReverse
        ).total
      }
      let expected = try pair.expected(temperature: temperature, isReverse: isReverse, soft: 1, hard: 1)
      try assertNear(found, expected, scale <= 1 && (1...20).contains(temperature) ? 2e-5 : 1e-3)
    }
  }

  /// A student that is its teacher has nothing to learn.
  @Test func isZeroForEqualModels() throws {
    let pair = try Pair(rows: 6, classes: 3000, scale: 5)
    let student = LinearOutput(
      features: try pair.features.copied().requireGradient(), weight: try pair.weight.copied().requireGradient())
    let loss = try linearSoftTargetLoss(
      student: student, teacher: .layer(LinearOutput(features: pair.features, weight: pair.weight)), temperature: 2)
    try assertClose(loss.total.item(), 0, absolute: 1e-5)
    try loss.total.backward()
    try assertClose(#require(student.weight.gradient), Tensor.zeros([3000, 3]), absolute: 1e-6)
  }

  @Test func eachPartByItself() throws {
    let pair = try Pair(rows: 8, classes: 50, bias: false)
    let soft = try pair.results(.float32) {
      try linearSoftTargetLoss(student: $0, teacher: .layer(pair.teacher), temperature: 2).total
    }
    try assertNear(soft, pair.expected(temperature: 2, soft: 1, hard: 0), 2e-5)
    let hard = try pair.results(.float32) { try linearSoftTargetLoss(student: $0, labels: pair.labels).total }
    try assertNear(hard, pair.expected(temperature: 2, soft: 0, hard: 1), 2e-5)
  }

  @Test func noLabelAtAll() throws {
    let pair = try Pair(rows: 4, classes: 20)
    let none = try Tensor([-1, -1, -1, -1])
    let found = try pair.results(.float32) { try linearSoftTargetLoss(student: $0, labels: none).total }
    for result in found { try assertClose(result.absolute().maximum().item(), 0) }
  }

  @Test(arguments: [DType.float32, .bfloat16, .float64])
  func noRow(dtype: DType) throws {
    let pair = try Pair(rows: 0, classes: 20, dtype: dtype)
    let found = try pair.results(dtype) {
      try linearSoftTargetLoss(student: $0, teacher: .layer(pair.teacher), labels: pair.labels).total
    }
    #expect(found.count == 4 && found[1].shape == [0, 3])
    for result in [found[0], found[2], found[3]] { try assertClose(result.absolute().maximum().item(), 0) }
  }

  /// Threads share the rows, and sums are added in the same order each time.
  @Test func sameNumbersEachTime() throws {
    let pair = try Pair(rows: 300, classes: 40_007)
    func bits() throws -> [[Float]] {
      try pair.results(.float32) {
        try linearSoftTargetLoss(student: $0, teacher: .layer(pair.teacher), labels: pair.labels, temperature: 2).total
      }.map { try $0.floats() }
    }
    let first = try bits()
    for _ in 0..<3 { #expect(try bits() == first) }
  }

  /// Mixed precision around it makes no difference: the type of the features says what products are computed in.
  @Test func underAutocast() throws {
    let pair = try Pair(rows: 7, classes: 300)
    func results(_ scope: (() throws -> Tensor) throws -> Tensor) throws -> [Tensor] {
      try pair.results(.float32) { student in
        try scope {
          try linearSoftTargetLoss(student: student, teacher: .layer(pair.teacher), labels: pair.labels).total
        }
      }
    }
    let plain = try results { try $0() }
    let mixed = try results { body in try withAutocast(.bfloat16) { try body() } }
    for (mixed, plain) in zip(mixed, plain) { #expect(try mixed.floats() == plain.floats()) }
  }

  /// Logits of a teacher in smaller types are those numbers in float32.
  @Test(arguments: [DType.bfloat16, .float16])
  func logitsInSmallTypes(dtype: DType) throws {
    let pair = try Pair(rows: 6, classes: 2100)
    let logits = try pair.teacher.logits().to(dtype)
    func results(_ logits: Tensor) throws -> [Tensor] {
      try pair.results(.float32) {
        try linearSoftTargetLoss(student: $0, teacher: .logits(logits), temperature: 2).total
      }
    }
    for (small, plain) in try zip(results(logits), results(logits.to(.float32))) {
      #expect(try small.floats() == plain.floats())
    }
  }

  /// Products in bfloat16: the logits that the layer gives under mixed precision, and gradients rounded as there.
  @Test func inBFloat16() throws {
    let pair = try Pair(rows: 40, classes: 2100, width: 16)
    var teacher = pair.teacher
    teacher.features = try teacher.features.to(.bfloat16)
    let found = try pair.results(.float32) { student in
      var student = student
      student.features = try student.features.to(.bfloat16)
      return try linearSoftTargetLoss(
        student: student, teacher: .layer(teacher), labels: pair.labels, temperature: 2, softWeight: 0.5
      ).total
    }
    try assertNear(found, pair.expected(temperature: 2, soft: 0.5, hard: 1), 2e-2)
  }

  @Test func byDifferences() throws {
    let pair = try Pair(rows: 3, classes: 5, width: 2, dtype: .float64)
    func loss(_ student: LinearOutput, _ isReverse: Bool) throws -> Tensor {
      try linearSoftTargetLoss(
        student: student, teacher: .layer(pair.teacher), labels: pair.labels, temperature: 1.5, isReverse: isReverse,
        softWeight: 0.6, hardWeight: 0.9
      ).total
    }
    for isReverse in [false, true] {
      try checkGradient(at: pair.features) {
        try loss(LinearOutput(features: $0, weight: pair.weight, bias: pair.bias), isReverse)
      }
      try checkGradient(at: pair.weight) {
        try loss(LinearOutput(features: pair.features, weight: $0, bias: pair.bias), isReverse)
      }
      try checkGradient(at: #require(pair.bias)) {
        try loss(LinearOutput(features: pair.features, weight: pair.weight, bias: $0), isReverse)
      }
    }
  }

  @Test(arguments: [0, 1, 2], [DType.float32, .float64])
  func oneGradientAlone(wanted: Int, dtype: DType) throws {
    let pair = try Pair(rows: 5, classes: 2100, dtype: dtype)
    let expected = try pair.expected(temperature: 2, soft: 1, hard: 1)
    let inputs = try [pair.features, pair.weight, #require(pair.bias)].map { try $0.copied() }
    try inputs[wanted].requireGradient()
    let loss = try linearSoftTargetLoss(
      student: LinearOutput(features: inputs[0], weight: inputs[1], bias: inputs[2]), teacher: .layer(pair.teacher),
      labels: pair.labels, temperature: 2)
    try loss.total.backward()
    for index in 0..<3 where index != wanted { #expect(inputs[index].gradient == nil) }
    let gradient = try #require(inputs[wanted].gradient)
    #expect(gradient.dtype == dtype)
    try assertNear([gradient], [expected[1 + wanted]], 2e-5)
  }

  /// What is not trained gets no gradient; without gradient there is the value alone; and the loss is scaled by what is
  /// done to it afterwards.
  @Test func gradientsWhereTheyAreWanted() throws {
    let pair = try Pair(rows: 4, classes: 30)
    let features = try pair.features.copied().requireGradient()
    let student = LinearOutput(features: features, weight: pair.weight, bias: pair.bias)
    let loss = try linearSoftTargetLoss(student: student, teacher: .layer(pair.teacher), labels: pair.labels)
    try (loss.total * 3).backward()
    #expect(pair.weight.gradient == nil)
    let whole = try pair.expected(temperature: 1, soft: 3, hard: 3)
    try assertNear([#require(features.gradient)], [whole[1]], 2e-5)
    #expect(!loss.soft.requiresGradient && !loss.hard.requiresGradient)
    let value = try withoutGradient {
      try linearSoftTargetLoss(student: student, teacher: .layer(pair.teacher), labels: pair.labels).total
    }
    #expect(!value.requiresGradient)
    try assertClose(value.item(), loss.total.item(), relative: 1e-6)
    #expect(throws: TorchError.self) {
      let again = try linearSoftTargetLoss(student: student, labels: pair.labels).total
      try again.backward(retainGraph: true)
      try again.backward()
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let pair = try Pair(rows: 4, classes: 30)
    let student = LinearOutput(features: pair.features, weight: pair.weight)
    let other = try Pair(rows: 5, classes: 30)
    for labels in try [Tensor([0, 1, 2, 30]), Tensor([0, 1, 2, -2]), Tensor([0, 1])] {
      #expect(throws: TorchError.self) { try linearSoftTargetLoss(student: student, labels: labels) }
    }
    #expect(throws: TorchError.self) { try linearSoftTargetLoss(student: student, teacher: .layer(other.teacher)) }
    #expect(throws: TorchError.self) {
      try linearSoftTargetLoss(student: student, teacher: .logits(Tensor.zeros([4, 31])))
    }
    for temperature in [0, -1, Double.infinity] {
      #expect(throws: TorchError.self) {
        try linearSoftTargetLoss(student: student, teacher: .layer(pair.teacher), temperature: temperature)
      }
    }
  }

  /// A logit that is not a number is not passed over.
  @Test func notANumberShows() throws {
    let pair = try Pair(rows: 2, classes: 2100)
    let weight = try pair.weight.copied()
    try weight.sliced(0, from: 2090, to: 2091).fill(.nan)
    let loss = try linearSoftTargetLoss(
      student: LinearOutput(features: pair.features, weight: weight), teacher: .layer(pair.teacher),
      labels: pair.labels)
    #expect(try loss.soft.item().isNaN)
    #expect(try loss.hard.item().isNaN)
  }
}
