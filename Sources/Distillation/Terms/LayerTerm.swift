import TorchNN

/// A term that compares places of the student with places of the teacher.
public protocol LayerTerm: Term {
  /// What is compared with what.
  var layers: [LayerPair] { get }
}

extension LayerTerm {
  public var studentTaps: [Tap] { layers.map(\.student) }
  public var teacherTaps: [Tap] { layers.map(\.teacher) }
}
