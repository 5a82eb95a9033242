import Testing
import TorchOptim

@Suite struct ScheduleTests {
  /// Ours by the fixture's name, and the steps of the run that it is spread over.
  private static let ours: [String: (schedule: Schedule, totalSteps: Int)] = [
    "constant": (.constant, 10),
    "step": (.step(every: 7, gamma: 0.3), 31),
    "step default": (.step(every: 10), 25),
    "multi-step": (.multiStep(milestones: [4, 5, 20], gamma: 0.2), 31),
    "cosine": (.cosine(), 30),
    "cosine minimum": (.cosine(minimum: 0.1), 30),
    "one-cycle": (.oneCycle(), 40),
    "one-cycle custom": (
      .oneCycle(OneCycle(climb: 0.2, divisor: 10, finalDivisor: 100, momentum: 0.7...0.9)), 37
    ),
    "warm-up": (.warmUp(steps: 8, then: .constant), 20),
    "warm-up cosine": (.warmUp(steps: 5, from: 0.1, then: .cosine(minimum: 0.02)), 30),
    "warm-up step": (.warmUp(steps: 5, from: 0.1, then: .step(every: 6, gamma: 0.5)), 31),
  ]

  @Test(arguments: OptimizerFixture.shared.schedules.map(\.name))
  func equalsPyTorchOverItsWholeLength(name: String) throws {
    let curve = try #require(OptimizerFixture.shared.schedules.first { $0.name == name })
    let (schedule, totalSteps) = try #require(Self.ours[name])
    #expect(curve.rates.count == curve.steps)
    for step in 0..<curve.steps {
      let rate = 0.5 * schedule.factor(step: step, of: totalSteps)
      #expect(abs(rate - curve.rates[step]) < 1e-9, "step \(step)")
      guard !curve.momenta.isEmpty else {
        #expect(schedule.momentum(step: step, of: totalSteps) == nil)
        continue
      }
      let momentum = try #require(schedule.momentum(step: step, of: totalSteps))
      #expect(abs(momentum - curve.momenta[step]) < 1e-9, "momentum at step \(step)")
    }
  }

  @Test func oneCycleMayLeaveTheMomentumAlone() {
    #expect(Schedule.oneCycle(OneCycle(momentum: nil)).momentum(step: 3, of: 10) == nil)
  }

  @Test func warmUpHandsTheMomentumOn() throws {
    let schedule = Schedule.warmUp(steps: 4, then: .oneCycle())
    #expect(schedule.momentum(step: 4, of: 24) == 0.95)
    #expect(schedule.momentum(step: 1, of: 24) == 0.95)
  }

  /// Runs of no or one step, steps outside the run, and settings that would divide by zero.
  @Test func edgesStayFinite() {
    let schedules: [Schedule] = [
      .constant, .step(every: 0), .step(every: -3), .multiStep(milestones: []), .cosine(), .oneCycle(),
      .oneCycle(OneCycle(climb: 0)), .oneCycle(OneCycle(climb: 1)), .warmUp(steps: 0, then: .cosine()),
      .warmUp(steps: -2, then: .constant), .warmUp(steps: 10, then: .cosine()), .warmUp(steps: 3, then: .oneCycle()),
    ]
    for schedule in schedules {
      for total in [-1, 0, 1, 2, 3, 10] {
        for step in -2...12 {
          let factor = schedule.factor(step: step, of: total)
          #expect(factor.isFinite && factor >= 0 && factor <= 1, "\(schedule) at \(step) of \(total): \(factor)")
          if let momentum = schedule.momentum(step: step, of: total) { #expect((0.85...0.95).contains(momentum)) }
        }
      }
    }
    #expect(Schedule.cosine(minimum: 0.25).factor(step: 99, of: 10) == 0.25)
  }
}
