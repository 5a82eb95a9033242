import DistillRecipes
import Foundation
import Synchronization

/// How far something is: one line that is drawn again in place, at most ten times a second.
///
/// ```
/// distilled, seed 2  ━━━━━━━━━━━━━━━━────────────  57%  13 s left  loss 0.312  accuracy 91.2 %
/// ```
///
/// Where there is no terminal, nothing is redrawn, and only ``note(_:)`` writes, a plain line each.
/// When quiet, nothing is written. The cursor is never hidden and wrapping never switched off, so that even a process
/// that is killed leaves a usable terminal.
final class ProgressLine: Sendable {
  /// A name and a value beside the bar, such as `loss 0.312`.
  struct Figure: Sendable {
    var name: String
    var value: String

    init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  private struct State: Sendable {
    var completed = 0.0
    var figures: [Figure] = []
    var lastDrawn = -Double.infinity
    /// When a line was written where none can be redrawn.
    var lastTold: Double
    var isDrawn = false
    var isFinished = false
  }

  let terminal: Terminal
  let label: String
  private let total: Double
  private let began: Double
  private let now: @Sendable () -> Double
  private let secondsBetweenLines: Double?
  private let state: Mutex<State>

  /// - Parameters:
  ///   - label: what is going on, in a few words
  ///   - total: how much there is to do; 0 when nobody knows, which leaves out bar and remaining time
  ///   - secondsBetweenLines: where nothing can be redrawn, such as in a file, so often a line says how far it is; nil:
  ///     nothing is said there
  ///   - now: the time in seconds, from any origin
  init(
    _ label: String, total: Int, on terminal: Terminal, secondsBetweenLines: Double? = nil,
    now: @escaping @Sendable () -> Double = ProgressLine.uptime
  ) {
    self.terminal = terminal
    self.label = Terminal.plain(label)
    self.total = Double(max(0, total))
    self.now = now
    self.secondsBetweenLines = secondsBetweenLines
    began = now()
    state = Mutex(State(lastTold: began))
  }

  static let uptime: @Sendable () -> Double = { ProcessInfo.processInfo.systemUptime }

  /// Says how much is done by now, in all. Figures stay until others are given.
  func update(completed: Int, figures: [Figure]? = nil) {
    state.withLock { state in
      state.completed = Double(completed)
      if let figures { state.figures = figures }
      guard !state.isFinished else { return }
      let time = now()
      if !terminal.canRedraw, total > 0, let secondsBetweenLines, time - state.lastTold >= secondsBetweenLines {
        state.lastTold = time
        terminal.sentences("\(label): \(Int(min(1, state.completed / total) * 100))%")
      }
      guard isVisible else { return }
      // The end is always shown: what comes after it may take its time.
      guard time - state.lastDrawn >= 0.1 || state.completed >= total else { return }
      draw(&state, at: time)
    }
  }

  /// A line that stays, above the one that moves.
  func note(_ text: String) {
    state.withLock { state in
      erase(&state)
      terminal.sentences(text)
      if isVisible, !state.isFinished, state.lastDrawn.isFinite { draw(&state, at: now()) }
    }
  }

  /// Takes the line away and leaves a last word in its place, if there is one.
  func finish(_ text: String? = nil) {
    state.withLock { state in
      guard !state.isFinished else { return }
      state.isFinished = true
      erase(&state)
      if let text { terminal.sentences(text) }
    }
  }

  deinit { finish() }

  // MARK: Drawing

  private var isVisible: Bool { terminal.canRedraw && !terminal.isQuiet }

  private func draw(_ state: inout State, at time: Double) {
    state.lastDrawn = time
    state.isDrawn = true
    // The last column stays free: a full line would wrap in some terminals.
    let room = max(8, (terminal.columns() ?? 80) - 1)
    terminal.write("\r" + content(state, at: time, room: room) + "\u{1B}[K")
  }

  private func erase(_ state: inout State) {
    guard state.isDrawn else { return }
    state.isDrawn = false
    terminal.write("\r\u{1B}[K")
  }

  private struct Piece {
    var text: String
    var style: Terminal.Style?
    /// The piece with the largest number goes first when room is short.
    var dispensability: Int
  }

  private func content(_ state: State, at time: Double, room: Int) -> String {
    var pieces: [Piece] = []
    let elapsed = time - began
    let share = total > 0 ? min(1, max(0, state.completed / total)) : 0
    if total > 0 {
      // Rounded down: 100 % is when it is all done.
      pieces.append(Piece(text: padded("\(Int(share * 100))%", to: 4), style: .bold, dispensability: 0))
    }
    let rate = elapsed > 0.5 && state.completed > 0 ? state.completed / elapsed : nil
    if let rate, total > state.completed {
      let left = remaining((total - state.completed) / rate)
      pieces.append(Piece(text: "\(left) left", style: .dim, dispensability: 2))
    }
    for (index, figure) in state.figures.enumerated() {
      let text = Terminal.plain("\(figure.name) \(figure.value)")
      pieces.append(Piece(text: text, style: nil, dispensability: index == 0 ? 1 : 3))
    }
    let name = TextWidth.shortened(label, to: max(6, room / 3))
    var needed = TextWidth.of(name) + pieces.reduce(0) { $0 + 2 + TextWidth.of($1.text) }
    while needed > room, let index = pieces.indices.max(by: { pieces[$0].dispensability < pieces[$1].dispensability }),
      pieces[index].dispensability > 0
    {
      needed -= 2 + TextWidth.of(pieces[index].text)
      pieces.remove(at: index)
    }
    var line = terminal.styled(TextWidth.shortened(name, to: room), .bold)
    let free = room - needed - 2
    if total > 0, free >= 6 { line += "  " + bar(share, width: min(32, free)) }
    guard needed <= room else { return line }
    for piece in pieces { line += "  " + (piece.style.map { terminal.styled(piece.text, $0) } ?? piece.text) }
    return line
  }

  private func bar(_ share: Double, width: Int) -> String {
    let filled = min(width, Int((share * Double(width)).rounded()))
    guard terminal.usesUnicode else {
      return "[" + String(repeating: "#", count: min(filled, width - 2))
        + String(repeating: "-", count: width - 2 - min(filled, width - 2)) + "]"
    }
    // With colour the rest is the same line, dimmed; without, a thinner one.
    return terminal.styled(String(repeating: "━", count: filled), .blue)
      + terminal.styled(String(repeating: terminal.usesColour ? "━" : "─", count: width - filled), .dim)
  }

  /// Whole seconds: a remaining time that flickers in its decimals says nothing.
  private func remaining(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 360_000 else { return Quantity.missing }
    return seconds < 60 ? "\(Int(seconds.rounded(.up))) s" : Quantity.seconds(seconds)
  }

  private func padded(_ text: String, to width: Int) -> String {
    String(repeating: " ", count: max(0, width - TextWidth.of(text))) + text
  }
}
