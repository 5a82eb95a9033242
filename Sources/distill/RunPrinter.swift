import DistillRecipes
import Distillation
import Foundation
import Synchronization

/// Shows what a run does: on a terminal in one line that is drawn again and again, elsewhere in a line now and then.
final class RunPrinter: Sendable {
  private struct State {
    var stage = ""
    /// What the trainings that are going on said last, by their number.
    var running: [Int: String] = [:]
    var lastDrawn = ContinuousClock.now
    var isLineOpen = false
  }

  private let isQuiet: Bool
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let state = Mutex(State())

  init(isQuiet: Bool) { self.isQuiet = isQuiet }

  func note(_ event: RunEvent) {
    guard !isQuiet else { return }
    state.withLock { state in
      switch event {
      case .stage(let name):
        state.stage = name
        line(name, &state)
      case .fraction(let done):
        redraw("\(state.stage) \(percent(done))", &state)
      case .notice(let text):
        line(text, &state)
      case .training(let label, let event):
        training(label, event, &state)
      case .trained(let label, let accuracy, let wasDoneBefore):
        state.running[label.number] = nil
        let score = String(format: "%.2f %%", accuracy * 100)
        let count = "[\(label.number)/\(label.count)]"
        line("\(count) \(label.name): \(score) on the test split\(wasDoneBefore ? " (done before)" : "")", &state)
      }
    }
  }

  func end() {
    guard !isQuiet else { return }
    state.withLock { clear(&$0) }
  }

  private func training(_ label: RunEvent.TrainingLabel, _ event: Event, _ state: inout State) {
    switch event {
    case .progress(let progress):
      let speed = progress.examplesPerSecond
      state.running[label.number] =
        "\(label.name) \(percent(Double(progress.step) / Double(progress.steps)))"
        + String(format: " loss %.3f, %.0f/s", progress.loss, speed)
      redraw(state.running.sorted { $0.key < $1.key }.map(\.value).joined(separator: " · "), &state)
    case .round(let round) where label.count == 1:
      let score = round.validation.map { String(format: ", validation %.2f %%", $0.accuracy * 100) } ?? ""
      line("\(label.name), round \(round.round): loss \(String(format: "%.4f", round.loss))\(score)", &state)
    default: break
    }
  }

  private func percent(_ fraction: Double) -> String { "\(Int((fraction * 100).rounded(.down))) %" }

  private func line(_ text: String, _ state: inout State) {
    clear(&state)
    write(text + "\n")
  }

  private func redraw(_ text: String, _ state: inout State) {
    let now = ContinuousClock.now
    guard isTerminal, now - state.lastDrawn > .milliseconds(100) else { return }
    state.lastDrawn = now
    state.isLineOpen = true
    write("\r\u{1B}[2K\(text)")
  }

  private func clear(_ state: inout State) {
    if state.isLineOpen { write("\r\u{1B}[2K") }
    state.isLineOpen = false
  }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
