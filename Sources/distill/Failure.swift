import ArgumentParser
import DistillData
import DistillModels
import DistillRecipes
import Distillation
import Foundation
import Torch
import TorchNN
import TorchOptim

/// How failures reach the person at the terminal: one message on standard error, and the exit code.
enum Failure {
  /// Prints a failure, and gives the exit code: 0 where it was none (help, version), 2 for what the person can mend in
  /// the command, the recipe or the files, 130 for an interruption, 1 for the rest.
  static func report(_ error: any Error) -> Int32 {
    switch error {
    case let error as RunError:
      say("error: \(error)")
      switch error.kind {
      case .usage: return 2
      case .failure: return 1
      case .interrupted: return 130
      }
    case let error as RecipeError:
      say("\(error)")
      return 2
    case is DataError, is ModelError, is CheckpointError, is StateError, is OptimizerError, is TapError:
      say("error: \(error)")
      return 2
    case is DistillationError, is TorchError, is FileError:
      say("error: \(error)")
      return 1
    default:
      let code = DistillCommand.exitCode(for: error)
      let message = DistillCommand.fullMessage(for: error)
      guard code != .success else {
        if !message.isEmpty { print(message) }
        return 0
      }
      if !message.isEmpty { say(message) }
      return code == .validationFailure ? 2 : code.rawValue
    }
  }

  /// Prints a message on standard error.
  static func say(_ message: String) {
    FileHandle.standardError.write(Data("\(message)\n".utf8))
  }
}
