import TorchNN

/// A place in the student and the place in the teacher that it is compared with.
public struct LayerPair: Sendable, Hashable {
  public var student: Tap
  public var teacher: Tap

  public init(student: Tap, teacher: Tap) {
    self.student = student
    self.teacher = teacher
  }

  /// The same module path in both.
  public init(_ path: String) { self.init(student: Tap(path), teacher: Tap(path)) }
}

extension LayerPair: CustomStringConvertible {
  public var description: String { student == teacher ? "\(student)" : "\(student) ← \(teacher)" }
}
