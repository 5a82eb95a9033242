import Foundation
import Testing

/// Something wrong, and what the message about it has to say.
struct BadInput: Sendable, CustomTestStringConvertible {
  var name: String
  /// Words that have to be in the message: the file or the key, and what is wrong.
  var words: [String]
  var arguments: [String] = []
  /// Puts it into a folder that holds `recipe.yaml` and the model folder `teacher`.
  var prepare: @Sendable (_ folder: String) throws -> Void = { _ in }

  var testDescription: String { name }

  /// `check` and `run` both refuse it with exit code 2 and a clear message, and leave everything as it was.
  func isRefused(by commands: [String] = ["check", "run"], sourceLocation: SourceLocation = #_sourceLocation) throws {
    try Sample.withTeacher { folder in
      try prepare(folder)
      let before = try contents(of: folder)
      for command in commands {
        let outcome = try Command.run([command, "recipe.yaml"] + arguments, in: folder)
        #expect(outcome.code == 2, "\(command): \(outcome.everything)", sourceLocation: sourceLocation)
        // Problems that `check` finds are its result; all else fails on standard error.
        let said = command == "check" ? outcome.everything : outcome.errors
        for word in words {
          #expect(said.contains(word), "\(command), \(word): \(said)", sourceLocation: sourceLocation)
        }
        for trace in ["Fatal error", "Swift/", "Thread 0", "0x0000", "what():", "c10::"] {
          #expect(!said.contains(trace), "\(said)", sourceLocation: sourceLocation)
        }
      }
      // A run folder may have been begun; nothing that was there is lost or changed.
      let after = try contents(of: folder)
      for (file, data) in before { #expect(after[file] == data, "\(file)", sourceLocation: sourceLocation) }
      if commands == ["check"] {
        #expect(after.keys.sorted() == before.keys.sorted(), sourceLocation: sourceLocation)
      }
    }
  }
}
