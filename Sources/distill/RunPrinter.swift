import DistillRecipes
import Distillation
import Foundation
import Synchronization

/// Shows what a run does: one line that moves, and above it a line for whatever is done. Quiet, it says only what people
/// have to know: warnings, and what was found altered or damaged.
final class RunPrinter: Sendable {
  private struct State {
    /// The stage that was named last.
    var stage = ""
    var line: ProgressLine?
    /// Whether the line counts trainings, rather than the part of a stage.
    var countsTrainings = false
    var done = 0
    /// The trainings that are going on, by their number: the part that is done, and the loss.
    var running: [Int: (fraction: Double, loss: Double)] = [:]
  }

  /// Parts into which a stage, or a training, is divided on the bar.
  private static let resolution = 1_000

  private let terminal: Terminal
  private let state = Mutex(State())

  init(isQuiet: Bool) { terminal = .standardError(isQuiet: isQuiet) }

  func note(_ event: RunEvent) {
    state.withLock { state in
      switch event {
      case .stage(let name):
        state.stage = name
        if state.countsTrainings {
          state.line?.note(name)
        } else {
          state.line?.finish()
          state.line = nil
          terminal.sentences(Terminal.plain(name))
        }
      case .fraction(let done):
        guard !state.countsTrainings else { break }
        let line =
          state.line
          ?? ProgressLine(
            state.stage, total: Self.resolution, on: terminal, secondsBetweenLines: 10)
        state.line = line
        line.update(completed: Int(done * Double(Self.resolution)))
      case .notice(let text):
        let text = text.split(separator: "\n").map { Terminal.plain(String($0)) }.joined(separator: "\n")
        if terminal.isQuiet {
          Terminal.standardError().sentences(text)
        } else {
          tell(text, state)
        }
      case .outcome(let text): tell(Terminal.plain(text), state)
      case .training(let label, let event):
        training(label, event, &state)
      case .trained(let label, let score, let wasDoneBefore):
        trained(label, score, wasDoneBefore, &state)
      }
    }
  }

  /// Above the line that moves, where there is one.
  private func tell(_ text: String, _ state: State) {
    if let line = state.line { line.note(text) } else { terminal.sentences(text) }
  }

  func end() {
    state.withLock { state in
      state.line?.finish()
      state = State()
    }
  }

  private func training(_ label: RunEvent.TrainingLabel, _ event: Event, _ state: inout State) {
    let line = trainingLine(label, &state)
    switch event {
    case .progress(let progress):
      state.running[label.number] = (Double(progress.step) / Double(progress.steps), progress.loss)
      let running = state.running.sorted { $0.key < $1.key }.map(\.value)
      let completed = Double(state.done) + running.reduce(0) { $0 + $1.fraction }
      var figures = running.map { ProgressLine.Figure("loss", String(format: "%.3f", $0.loss)) }
      if label.count == 1 {
        figures.append(ProgressLine.Figure("examples/s", String(format: "%.0f", progress.examplesPerSecond)))
      }
      line.update(completed: Int(completed * Double(Self.resolution)), figures: figures)
    case .round(let round) where label.count == 1:
      let score = round.validation.map { String(format: ", %.2f %% on the validation split", $0.accuracy * 100) } ?? ""
      line.note("\(label.name), round \(round.round): loss \(String(format: "%.4f", round.loss))\(score)")
    default: break
    }
  }

  private func trained(
    _ label: RunEvent.TrainingLabel, _ score: RunEvent.Score, _ wasDoneBefore: Bool, _ state: inout State
  ) {
    let line = trainingLine(label, &state)
    state.running[label.number] = nil
    state.done += 1
    let mark = terminal.styled(terminal.usesUnicode ? "✓" : "done", .green)
    let before = wasDoneBefore ? " (done before)" : ""
    // First the bar, which the note draws again: the next training may let wait for its first word.
    line.update(completed: state.done * Self.resolution, figures: state.running.isEmpty ? [] : nil)
    let shown =
      switch score {
      case .test(let accuracy): String(format: ": %.2f %% on the test split", accuracy * 100)
      case .validation(let accuracy): String(format: ": %.2f %% on the validation split", accuracy * 100)
      case .none: ""
      }
    line.note("\(mark) \(Terminal.plain(label.name))\(shown)\(before)")
    if state.done == label.count {
      line.finish()
      state = State()
    }
  }

  private func trainingLine(_ label: RunEvent.TrainingLabel, _ state: inout State) -> ProgressLine {
    if state.countsTrainings, let line = state.line { return line }
    state.line?.finish()
    let name = label.count == 1 ? "Training the \(label.name)" : "\(label.count) trainings"
    let line = ProgressLine(name, total: label.count * Self.resolution, on: terminal)
    state.line = line
    state.countsTrainings = true
    return line
  }
}
