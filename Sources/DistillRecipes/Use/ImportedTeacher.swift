import DistillData
import Distillation
import Torch
import TorchNN

/// A teacher whose logits another program computed.
final class ImportedTeacher: Teacher {
  private let logits: ImportedLogits

  init(_ logits: ImportedLogits) { self.logits = logits }

  func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    guard taps.isEmpty else { throw RunError("\(logits.path) holds logits, and no layers") }
    return TeacherTrace(
      logits: try Tensor(
        logits.logits(of: batch.ids, view: batch.teacherView), shape: [batch.ids.count, logits.classCount]))
  }
}
