import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// What comes back of logits, against closed forms.
@Suite struct LogitEncodingTests {
  private let rows = CacheSample.table(10, classes: 6)

  private func exact() throws -> Tensor { try Tensor(rows.flatMap(\.self), shape: [10, 6]) }

  @Test(arguments: [DType.float32, .float16, .bfloat16]) func allLogitsComeBack(type: DType) throws {
    try withTemporaryFolder { folder in
      let cache = try CacheSample.label(rows, in: folder, .all(type), temperatures: [1, 4])
      let trace = try CacheSample.trace(cache)
      let expected = try exact().to(type).to(.float32)
      #expect(try trace.logits().floats() == expected.floats())
      #expect(try trace.logSoftTargets(temperature: 3).equals((expected * (1.0 / 3)).logSoftmax()).all())
      #expect(cache.fidelity.bytesPerExample == Double(8 + 6 * type.byteCount))
      let divergence = try #require(cache.fidelity.meanDivergence(at: 1))
      #expect(type == .float32 ? divergence == 0 : divergence > 0 && divergence < 1e-3)
      #expect(cache.fidelity.rowCount == 10 && cache.fidelity.meanKeptMass == 1)
    }
  }

  /// By hand: at temperature 2 the logits 3, 1, 0, −1, 2 have the kept classes 0 and 4, and the mass of three others.
  @Test func theLikeliestClassesAreExactAtTheirTemperature() throws {
    try withTemporaryFolder { folder in
      let row: [Float] = [3, 1, 0, -1, 2]
      let kept = LogitEncoding.TopK(k: 2, temperatures: [2, 5], values: .float32)
      let cache = try CacheSample.label([row, row], in: folder, .topK(kept))
      let trace = try CacheSample.trace(cache)
      for temperature in [2.0, 5] {
        let powers = row.map { Foundation.exp(Double($0) / temperature) }
        let total = powers.reduce(0, +)
        let other = (powers[1] + powers[2] + powers[3]) / 3
        let expected = [powers[0], other, other, other, powers[4]].map { $0 / total }
        let found = try trace.logSoftTargets(temperature: temperature).selected(0, 1).exponential().doubles()
        for (a, b) in zip(found, expected) { assertClose(a, b, relative: 1e-6) }
        // KL(exact ‖ kept), by hand.
        let divergence = zip(powers, expected).map { $0 / total * Foundation.log($0 / total / $1) }.reduce(0, +)
        assertClose(
          try #require(cache.fidelity.meanDivergence(at: temperature)), divergence, relative: 1e-4, absolute: 1e-6)
        if temperature == 2 {
          assertClose(cache.fidelity.meanKeptMass, (powers[0] + powers[4]) / total, relative: 1e-6)
        }
      }
      #expect(cache.fidelity.topOneAgreement == 1)
      #expect(cache.fidelity.bytesPerExample == Double(8 + 2 * 4 + 2 * 2 + 2 * 4))
      // What was not kept cannot be told.
      let other = CacheSample.problem { _ = try trace.logSoftTargets(temperature: 1) }
      #expect(other.contains("known at temperature 2 and 5, and 1 is asked for: label again"))
      let matching = CacheSample.problem { _ = try trace.logits() }
      #expect(matching.contains("the 2 likeliest of 5 classes were kept"))
      let noise = CacheSample.problem { _ = try trace.mappingLogits { $0 } }
      #expect(noise.contains("label again with all logits"))
    }
  }

  @Test func allClassesAreTheWholeAtAnyTemperature() throws {
    try withTemporaryFolder { folder in
      let kept = LogitEncoding.TopK(k: 9, temperatures: [4], values: .float32)
      let trace = try CacheSample.trace(CacheSample.label(rows, in: folder, .topK(kept)))
      #expect(try trace.logits().floats() == exact().floats())
      try assertClose(trace.logSoftTargets(temperature: 1.5), (exact() * (1 / 1.5)).logSoftmax())
    }
  }

  /// Value and gradient of the term from what was kept are those from all logits, for as many classes and for fewer.
  @Test(arguments: [1, 3, 5]) func topKSoftTargetsNeedNoMore(k: Int) throws {
    try withTemporaryFolder { folder in
      let kept = LogitEncoding.TopK(k: 5, temperatures: [2], values: .float32)
      let cache = try CacheSample.label(rows, in: folder, .topK(kept))
      let objective = try Objective([.init(TopKSoftTargets(k: k, temperature: 2))])
      let student = CacheSample.table(10, classes: 6, seed: 8).flatMap(\.self)
      let batch = try Batch.fake(count: 10)
      let results = try [TeacherTrace(logits: exact()), CacheSample.trace(cache)].map { teacher in
        let logits = try Tensor(student, shape: [10, 6]).requireGradient()
        let value = try #require(
          try objective.evaluate(student: Trace(output: logits), teacher: teacher, batch: batch))
        try value.total.backward()
        return (value: try value.total.item(), gradient: try #require(logits.gradient))
      }
      assertClose(results[0].value, results[1].value, relative: 1e-5)
      try assertClose(results[1].gradient, results[0].gradient, relative: 1e-4, absolute: 1e-7)
    }
  }

  @Test func termsSayWhatTheyLack() throws {
    try withTemporaryFolder { folder in
      let kept = LogitEncoding.TopK(k: 3, temperatures: [2])
      let trace = try CacheSample.trace(CacheSample.label(rows, in: folder, .topK(kept)))
      func problem(_ term: any Term) -> String {
        CacheSample.problem {
          _ = try Objective([.init(term)]).evaluate(
            student: Trace(output: exact()), teacher: trace, batch: .fake(count: 10))
        }
      }
      #expect(problem(try TopKSoftTargets(k: 4, temperature: 2)).contains("asks for 4 classes"))
      #expect(problem(try TopKSoftTargets(k: 3, temperature: 3)).contains("3 is asked for"))
      #expect(problem(try SoftTargets(temperature: 2)).isEmpty)
      #expect(problem(try SoftTargets(temperature: 4)).contains("4 is asked for"))
      #expect(problem(try SoftTargets(temperature: 2, standardize: true)).contains("needs all of them"))
      #expect(problem(LogitMatching()).contains("label again with all logits"))
    }
  }

  /// The shares of many draws are the probabilities, within four standard deviations; with weights also where they were
  /// drawn from another distribution.
  @Test(arguments: [1.0, 0.5]) func drawsAreThoseOfTheDistribution(power: Double) throws {
    try withTemporaryFolder { folder in
      let row: [Float] = [2, 0, 1, -1]
      let count = 20_000
      let encoding = LogitEncoding.Sampled(
        count: count, temperature: 2, proposalPower: power, seed: 9, values: .float32)
      let cache = try CacheSample.label([row, row], in: folder, .sampled(encoding))
      let trace = try CacheSample.trace(cache)
      let kept = try #require(trace.memberKept[0])
      guard case .drawn(_, _, let weights) = kept.others else { throw DistillationError("not drawn") }
      #expect((weights == nil) == (power == 1))
      let powers = row.map { Foundation.exp(Double($0) / 2) }
      let exact = powers.map { $0 / powers.reduce(0, +) }
      let proposed = powers.map { Foundation.pow($0, power) }
      let proposal = proposed.map { $0 / proposed.reduce(0, +) }
      for example in 0..<2 {
        let classes = try kept.classes.selected(0, example).array(of: Int64.self)
        let factors = try weights?.selected(0, example).doubles()
        var shares = [Double](repeating: 0, count: 4)
        for (place, label) in classes.enumerated() { shares[Int(label)] += (factors?[place] ?? 1) / Double(count) }
        for label in 0..<4 {
          let weight = exact[label] / proposal[label]
          let deviation = weight * (proposal[label] * (1 - proposal[label]) / Double(count)).squareRoot()
          #expect(abs(shares[label] - exact[label]) < 4 * deviation + 1e-5)
        }
        // log p of each draw is that of its class.
        let logs = try trace.memberLogits[0].selected(0, example).doubles()
        for (place, label) in classes.enumerated().prefix(50) {
          assertClose(logs[place], Foundation.log(exact[Int(label)]), relative: 1e-5)
        }
      }
      // The two examples are alike and their draws are not.
      #expect(try !kept.classes.selected(0, 0).equals(kept.classes.selected(0, 1)).all())
      #expect(cache.fidelity.divergences.isEmpty && cache.fidelity.meanDivergence(at: 2) == nil)
      assertClose(cache.fidelity.meanKeptMass, 1, relative: 1e-5)
      #expect(cache.fidelity.topOneAgreement == 1)
    }
  }

  /// The loss from kept draws is the mean over them of weight · (log p − log q), and nothing else can learn from them.
  @Test func sampledSoftTargetsTakeTheDraws() throws {
    try withTemporaryFolder { folder in
      let encoding = LogitEncoding.Sampled(count: 8, temperature: 2, proposalPower: 0.5, values: .float32)
      let trace = try CacheSample.trace(CacheSample.label(rows, in: folder, .sampled(encoding)))
      let student = try Tensor(CacheSample.table(10, classes: 6, seed: 8).flatMap(\.self), shape: [10, 6])
      func value(_ term: any Term) throws -> Double {
        try #require(
          try Objective([.init(term)]).evaluate(
            student: Trace(output: student), teacher: trace, batch: .fake(count: 10))
        ).total.item()
      }
      let kept = try #require(trace.memberKept[0])
      let p = try (exact().to(.float64) * 0.5).logSoftmax()
      let r = try (p * 0.5).logSoftmax()
      let q = try (student.to(.float64) * 0.5).logSoftmax()
      for count in [8, 3] {
        let drawn = try kept.classes.sliced(1, from: 0, to: count)
        let log = try p.picked(drawn, along: -1)
        let weights = try (log - r.picked(drawn, along: -1)).exponential()
        let expected = try (weights * (log - q.picked(drawn, along: -1))).sum().item() * 4 / Double(count) / 10
        let term = try SampledSoftTargets(samples: count, proposalPower: 0.5, temperature: 2)
        assertClose(try value(term), expected, relative: 1e-4)
      }
      func problem(_ term: any Term) -> String { CacheSample.problem { _ = try value(term) } }
      #expect(problem(try SampledSoftTargets(samples: 9, proposalPower: 0.5, temperature: 2)).contains("9 draws"))
      #expect(
        problem(try SampledSoftTargets(samples: 8, temperature: 2)).contains("proposal_power 0.5, and"))
      #expect(problem(try SampledSoftTargets(samples: 8, proposalPower: 0.5)).contains("at temperature 2"))
      #expect(problem(try SoftTargets(temperature: 2)).contains("only sampled_soft_targets can learn"))
      #expect(problem(try TopKSoftTargets(k: 2, temperature: 2)).contains("needs the likeliest classes"))
    }
  }

  /// Draws are a function of the example, not of the batch that it was labelled in.
  @Test func drawsDoNotDependOnTheBatch() throws {
    try withTemporaryFolder { folder in
      let encoding = LogitEncoding.sampled(.init(count: 6, temperature: 1, seed: 4))
      let traces = try [1, 7].map { batchSize in
        let place = "\(folder)/\(batchSize)"
        try TeacherCache.label(
          with: TableTeacher(rows), over: CacheSample.loader(10, batchSize: batchSize),
          as: CacheSample.key(classes: 6), in: place, options: .init(logits: encoding, rowsPerShard: batchSize + 2))
        return try CacheSample.trace(TeacherCache(place))
      }
      let classes = try traces.map { try #require($0.memberKept[0]).classes.array(of: Int64.self) }
      #expect(classes[0] == classes[1])
    }
  }

  @Test func whatCannotBeKeptIsRefused() throws {
    try withTemporaryFolder { folder in
      func problem(_ encoding: LogitEncoding, _ rows: [[Float]]? = nil) -> String {
        CacheSample.problem { _ = try CacheSample.label(rows ?? self.rows, in: "\(folder)/x", encoding) }
      }
      #expect(problem(.all(.int8)).contains("float32, float16 or bfloat16"))
      #expect(problem(.topK(.init(k: 0, temperatures: [1]))).contains("at least one class"))
      #expect(problem(.topK(.init(k: 1, temperatures: []))).contains("different, positive temperatures"))
      #expect(problem(.sampled(.init(count: 0, temperature: 1))).contains("at least one class"))
      #expect(problem(.sampled(.init(count: 1, temperature: 0))).contains("positive"))
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/x"))
      #expect(
        problem(.all(.float16), [[1, 70_000], [0, 0]]).contains("too large for float16: keep them as bfloat16"))
      #expect(problem(.all(.float16), [[1, .nan], [0, 0]]).contains("not all finite"))
      let left = try CacheSample.files("\(folder)/x")
      #expect(left == ["cache.json"])
    }
  }

  @Test(arguments: [
    LogitEncoding.all(.bfloat16), .topK(.init(k: 5, temperatures: [1, 2.5])),
    .sampled(.init(count: 3, temperature: 4, proposalPower: 0.25, seed: .max, values: .float32)),
  ])
  func encodingsAreWrittenAndRead(encoding: LogitEncoding) throws {
    #expect(try JSONDecoder().decode(LogitEncoding.self, from: JSONEncoder().encode(encoding)) == encoding)
  }
}
