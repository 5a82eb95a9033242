import ArgumentParser
import DistillRecipes
import Foundation
import Torch
import TorchNN

/// How failures reach the person at the terminal: one message on standard error, and the exit code.
enum Failure {
  /// Prints a failure, and gives the exit code: 0 where it was none (help, version), 2 for what the person can mend in
  /// the command, the recipe or the files, 130 for an interruption, 1 for the rest.
  static func report(_ error: any Error, arguments: [String] = Array(CommandLine.arguments.dropFirst())) -> Int32 {
    if let error = error as? any ReportedError {
      // A recipe's problems say themselves what they are, each with its line.
      say(error is RecipeError ? "\(error)" : "error: \(error)")
      if let error = error as? RunError, error.kind == .interrupted { return 130 }
      return error.isUsersToMend ? 2 : 1
    }
    let code = DistillCommand.exitCode(for: error)
    let message = DistillCommand.fullMessage(for: error)
    guard code != .success else {
      if !message.isEmpty { StandardOutput.write(message + "\n") }
      return 0
    }
    if !message.isEmpty { say("error: \(misspelling(in: arguments) ?? inOurWords(message))") }
    return code == .validationFailure ? 2 : code.rawValue
  }

  /// Prints a message on standard error.
  static func say(_ message: String) {
    Terminal.standardError().line(
      message.split(separator: "\n", omittingEmptySubsequences: false).map { Terminal.plain(String($0)) }
        .joined(separator: "\n"))
  }

  /// What the library for arguments says, in one line: what is wrong, and where help is.
  static func inOurWords(_ message: String) -> String {
    let lines = message.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    var text = lines.first ?? ""
    if text.hasPrefix("Error: ") { text.removeFirst("Error: ".count) }
    // What may be given is a list below.
    let choices = lines.filter { $0.hasPrefix("- ") }.map { $0.dropFirst(2) }
    while text.hasSuffix(".") || (!choices.isEmpty && text.hasSuffix(":")) { text.removeLast() }
    if !choices.isEmpty { text += ": \(choices.joined(separator: ", "))" }
    let help = lines.first { $0.hasPrefix("See '") }?.replacing(" for more information.", with: "")
    return text.prefix(1).lowercased() + text.dropFirst() + (help.map { ". \($0)" } ?? "")
  }

  /// What to say of a command that does not exist.
  static func misspelling(in arguments: [String]) -> String? {
    var command: any ParsableCommand.Type = DistillCommand.self
    var path = ["distill"]
    for word in arguments {
      let known = command.configuration.subcommands
      guard !known.isEmpty, !word.hasPrefix("-"), word != "help" else { return nil }
      if let next = known.first(where: { $0._commandName == word }) {
        command = next
        path.append(word)
        continue
      }
      let names = known.map { $0._commandName }
      let near = closest(to: word, in: names, limit: 1).first
      let hint = near.map { "did you mean '\($0)'?" } ?? "there are \(names.joined(separator: ", "))"
      return "there is no command '\((path + [word]).joined(separator: " "))': \(hint)"
    }
    return nil
  }
}
