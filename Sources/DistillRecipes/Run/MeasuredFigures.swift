import DistillModels
import Distillation
import Torch
import TorchNN

extension ReportData.Figures {
  /// What a model weighs and costs on a device, now.
  init(measuring specification: ModelSpecification, on device: Device) throws {
    let model = try ModelZoo.make(specification)
    model.eval()
    try model.move(to: device)
    let summary = try model.summary(inputShape: specification.inputShape)
    let latency = try Latency(of: model, inputShape: specification.inputShape)
    self.init(
      architecture: specification.architecture, parameters: summary.parameters, bytes: summary.bytes,
      multiplyAdds: summary.multiplyAdds, latencySeconds: latency.secondsPerExample,
      imagesPerSecond: latency.examplesPerSecond)
  }

  /// What several models weigh and cost together, one asked after the other. It has the first one's architecture.
  init(measuring specifications: [ModelSpecification], on device: Device) throws {
    let all = try specifications.map { try Self(measuring: $0, on: device) }
    func sum<Number: AdditiveArithmetic>(_ figure: (Self) -> Number?) -> Number {
      all.compactMap(figure).reduce(.zero, +)
    }
    self.init(
      architecture: all.first?.architecture ?? "", parameters: sum(\.parameters), bytes: sum(\.bytes),
      multiplyAdds: sum(\.multiplyAdds), latencySeconds: sum(\.latencySeconds),
      imagesPerSecond: 1 / sum { $0.imagesPerSecond.map { 1 / $0 } })
  }
}
