import DistillModels
import Distillation
import Torch
import TorchNN

extension ReportData.Figures {
  /// What a model weighs and costs on a device, now.
  init(measuring specification: ModelSpecification, on device: Device) throws {
    let model = try ModelZoo.make(specification)
    try model.move(to: device)
    try self.init(measuring: model, specification)
  }

  /// What a member of a teacher weighs and costs.
  init(measuring member: TeacherMember, on device: Device) throws {
    guard member.program != nil else {
      try self.init(measuring: member.specification, on: device)
      return
    }
    try self.init(measuring: try member.makeModel(on: device), member.specification)
  }

  private init(measuring model: any Layer, _ specification: ModelSpecification) throws {
    model.eval()
    let summary = try model.summary(inputShape: specification.inputShape)
    // Of a model whose inside cannot be looked at nothing is counted but, at most, its parameters. It may not take zeros.
    let opaque = model as? any OpaqueLayer
    let timed = Result { try Latency(of: model, inputShape: specification.inputShape) }
    let latency = opaque == nil ? try timed.get() : try? timed.get()
    self.init(
      architecture: specification.architecture, parameters: opaque.map(\.ownParameterCount) ?? summary.parameters,
      bytes: summary.bytes, multiplyAdds: opaque == nil ? summary.multiplyAdds : nil,
      latencySeconds: latency?.secondsPerExample,
      imagesPerSecond: latency?.examplesPerSecond)
  }

  /// What several models weigh and cost together, one asked after the other. It has the first one's architecture.
  init(measuring members: [TeacherMember], on device: Device) throws {
    let all = try members.map { try Self(measuring: $0, on: device) }
    /// nil where it is not known of one of them.
    func sum<Number: AdditiveArithmetic>(_ figure: (Self) -> Number?) -> Number? {
      let known = all.compactMap(figure)
      return known.count == all.count ? known.reduce(.zero, +) : nil
    }
    self.init(
      architecture: all.first?.architecture ?? "", parameters: sum(\.parameters), bytes: sum(\.bytes),
      multiplyAdds: sum(\.multiplyAdds), latencySeconds: sum(\.latencySeconds),
      imagesPerSecond: sum { $0.imagesPerSecond.map { 1 / $0 } }.map { 1 / $0 })
  }
}
