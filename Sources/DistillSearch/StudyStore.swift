import Foundation
import GRDB
import Torch

/// A study in a file of SQLite: what it is about, its trials, and what they scored.
///
/// Every change is one transaction, so that a process may be killed between any two and all that it had reported is there.
/// Processes that work on one study ask for work in a transaction that sees all that the others have done and writes down
/// what was given out before anybody else can ask. The file is in write-ahead mode: readers do not wait for writers.
public final class StudyStore: Sendable {
  public let path: String
  private let queue: DatabaseQueue

  /// What a process was given.
  public enum Work: Sendable, Equatable {
    /// Train it up to its rung.
    case trial(Trial)
    case wait
    case finished
  }

  /// Opens the study in a file, or makes an empty one. Processes open it one after the other, so that none sees half of what
  /// another is making.
  ///
  /// - Throws: `SearchError` when it cannot be opened, is no study, or is of a newer program; `FileError` when nothing can be
  ///   written beside it.
  public init(path: String) throws {
    self.path = path
    let lock = FilePath.joined(FilePath.folder(of: path), ".\(FilePath.name(of: path)).lock")
    let turn = try FileLock.take(lock, waits: true)
    defer { withExtendedLifetime(turn) {} }
    queue = try Self.mapping(path) {
      var configuration = Configuration()
      configuration.journalMode = .wal
      // Transactions are short; whoever waits so long waits for a process that hangs.
      configuration.busyMode = .timeout(60)
      configuration.label = "study"
      let queue = try DatabaseQueue(path: path, configuration: configuration)
      let migrator = Self.migrator
      guard
        try queue.read({ try $0.tableExists("study") || Row.fetchOne($0, sql: "SELECT 1 FROM sqlite_master") == nil })
      else { throw DatabaseError(resultCode: .SQLITE_NOTADB) }
      if try queue.read({ try migrator.hasBeenSuperseded($0) }) {
        throw SearchError(
          "\(path) was written by a newer version of this program: use that one, or begin another study")
      }
      try migrator.migrate(queue)
      return queue
    }
  }

  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1") { database in
      try database.execute(
        sql: """
          CREATE TABLE study (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            definition TEXT NOT NULL,
            begun REAL NOT NULL
          );
          CREATE TABLE trial (
            number INTEGER PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('running', 'waiting', 'paused', 'done', 'failed')),
            origin TEXT NOT NULL,
            "values" TEXT NOT NULL,
            rung INTEGER NOT NULL,
            message TEXT,
            owner TEXT,
            heartbeat REAL,
            begun REAL NOT NULL
          );
          CREATE TABLE report (
            trial INTEGER NOT NULL REFERENCES trial (number),
            rung INTEGER NOT NULL,
            epoch REAL NOT NULL,
            seconds REAL NOT NULL,
            PRIMARY KEY (trial, rung)
          );
          CREATE TABLE score (
            trial INTEGER NOT NULL,
            rung INTEGER NOT NULL,
            place INTEGER NOT NULL, -- among the seeds
            accuracy REAL,
            loss REAL,
            PRIMARY KEY (trial, rung, place),
            FOREIGN KEY (trial, rung) REFERENCES report (trial, rung)
          );
          """)
    }
    migrator.registerMigration("2") { database in
      try database.execute(sql: "ALTER TABLE study ADD COLUMN trials INTEGER")
    }
    return migrator
  }

  // MARK: The definition

  /// Writes down what the study is about, or finds that it is the same.
  ///
  /// - Throws: `SearchError` when the study is about something else.
  public func begin(_ definition: StudyDefinition) throws {
    try write { database in
      if let known = try Self.definition(database, path: self.path) {
        let differences = known.differences(from: definition)
        guard differences.isEmpty else {
          throw SearchError(
            "\(FilePath.folder(of: self.path)) holds another study: \(differences.joined(separator: ", ")) "
              + "\(differences.count == 1 ? "differs" : "differ"). Go on with that one by --resume alone, or name "
              + "another folder")
        }
        return
      }
      try database.execute(
        sql: "INSERT INTO study (id, definition, begun) VALUES (1, ?, ?)",
        arguments: [try Self.json(definition), Date().timeIntervalSince1970])
    }
  }

  /// How many trials were asked for in all; nil where nobody said.
  public func wantedTrials() throws -> Int? {
    try Self.mapping(path) { try queue.read { try Int.fetchOne($0, sql: "SELECT trials FROM study") } }
  }

  /// Writes down how many trials are asked for in all.
  public func want(trials: Int) throws {
    try write { try $0.execute(sql: "UPDATE study SET trials = ?", arguments: [trials]) }
  }

  /// Nil where no study was begun.
  public func definition() throws -> StudyDefinition? {
    try Self.mapping(path) { try queue.read { try Self.definition($0, path: path) } }
  }

  private static func definition(_ database: Database, path: String) throws -> StudyDefinition? {
    guard let text = try String.fetchOne(database, sql: "SELECT definition FROM study") else { return nil }
    guard let definition = try? JSONDecoder().decode(StudyDefinition.self, from: Data(text.utf8)) else {
      throw SearchError("\(path) is damaged: its definition cannot be read")
    }
    return definition
  }

  // MARK: Work

  /// The next thing to do, which nobody else is given as long as this process lives.
  ///
  /// - Parameter limit: so many trials are begun in all
  /// - Throws: `SearchError` where no study was begun, or the file cannot be written.
  public func claim(_ worker: Worker, limit: Int) throws -> Work {
    try write { database in
      guard let definition = try Self.definition(database, path: self.path) else {
        throw SearchError("\(self.path) holds no study")
      }
      let trials = try Self.trials(database, path: self.path)
      let now = Date()
      let owned: [(any DatabaseValueConvertible)?] = [worker.name, now.timeIntervalSince1970]
      let number: Int
      switch definition.nextStep(trials, limit: limit, isAlive: { Worker.isAlive($0, now: now) }) {
      case .wait: return .wait
      case .finished: return .finished
      case .takeUp(let taken):
        number = taken
        try database.execute(
          sql: "UPDATE trial SET state = 'running', owner = ?, heartbeat = ? WHERE number = ?",
          arguments: StatementArguments(owned + [number]))
      case .promote(let promoted, let rung):
        number = promoted
        try database.execute(
          sql: "UPDATE trial SET state = 'running', owner = ?, heartbeat = ?, rung = ? WHERE number = ?",
          arguments: StatementArguments(owned + [rung, number]))
      case .begin(let new, let values, let origin):
        number = new
        let text = try Self.json(values)
        try database.execute(
          sql: """
            INSERT INTO trial (owner, heartbeat, number, state, origin, "values", rung, begun)
            VALUES (?, ?, ?, 'running', ?, ?, 0, ?)
            """,
          arguments: StatementArguments(
            owned + [number, origin.rawValue, text, now.timeIntervalSince1970]))
      }
      guard let trial = try Self.trials(database, path: self.path).first(where: { $0.number == number }) else {
        throw SearchError("\(self.path) is damaged: trial \(number) is missing", isMendable: false)
      }
      return .trial(trial)
    }
  }

  /// Says that a process lives, so that nobody takes up its trials.
  public func beat(_ worker: Worker) throws {
    try write { database in
      try database.execute(
        sql: "UPDATE trial SET heartbeat = ? WHERE owner = ? AND state = 'running'",
        arguments: [Date().timeIntervalSince1970, worker.name])
    }
  }

  /// Writes down what a trial scored at its rung.
  ///
  /// - Parameters:
  ///   - scores: of each seed
  ///   - isWhole: whether it was trained in full; where it ended before its time, the scores count at all rungs above too
  /// - Returns: false when another process has taken it up in the meantime, and nothing was written
  @discardableResult
  public func report(
    _ trial: Trial, scores: [SearchScore], epoch: Double, seconds: Double, isWhole: Bool, by worker: Worker
  ) throws -> Bool {
    try write { database in
      guard let definition = try Self.definition(database, path: self.path),
        try Self.isOwned(trial.number, by: worker, database)
      else { return false }
      let last = isWhole ? definition.lastRung : trial.rung
      for rung in trial.rung...max(trial.rung, last) {
        try database.execute(
          sql: "INSERT INTO report (trial, rung, epoch, seconds) VALUES (?, ?, ?, ?)",
          arguments: [trial.number, rung, epoch, rung == trial.rung ? seconds : 0])
        for (place, score) in scores.enumerated() {
          try database.execute(
            sql: "INSERT INTO score (trial, rung, place, accuracy, loss) VALUES (?, ?, ?, ?, ?)",
            arguments: [trial.number, rung, place, score.accuracy, score.loss])
        }
      }
      try database.execute(
        sql: "UPDATE trial SET state = ?, rung = ?, owner = NULL, heartbeat = NULL WHERE number = ?",
        arguments: [(isWhole ? Trial.State.done : .paused).rawValue, last, trial.number])
      return true
    }
  }

  /// Writes down that a trial cannot be done.
  @discardableResult
  public func fail(_ trial: Trial, _ message: String, by worker: Worker) throws -> Bool {
    try end(trial, .failed, message, by: worker)
  }

  /// Gives a trial back, for whoever asks next.
  @discardableResult
  public func giveBack(_ trial: Trial, by worker: Worker) throws -> Bool {
    try end(trial, .waiting, nil, by: worker)
  }

  private func end(_ trial: Trial, _ state: Trial.State, _ message: String?, by worker: Worker) throws -> Bool {
    try write { database in
      guard try Self.isOwned(trial.number, by: worker, database) else { return false }
      try database.execute(
        sql: "UPDATE trial SET state = ?, message = ?, owner = NULL, heartbeat = NULL WHERE number = ?",
        arguments: [state.rawValue, message, trial.number])
      return true
    }
  }

  private static func isOwned(_ number: Int, by worker: Worker, _ database: Database) throws -> Bool {
    try String.fetchOne(
      database, sql: "SELECT owner FROM trial WHERE number = ? AND state = 'running'", arguments: [number])
      == worker.name
  }

  // MARK: Trials

  /// All of them, in their order.
  public func trials() throws -> [Trial] {
    try Self.mapping(path) { try queue.read { try Self.trials($0, path: path) } }
  }

  private static func trials(_ database: Database, path: String) throws -> [Trial] {
    var scores: [[Int]: [SearchScore]] = [:]
    for row in try Row.fetchAll(database, sql: "SELECT * FROM score ORDER BY trial, rung, place") {
      // SQLite knows no number that is none.
      let (accuracy, loss): (Double?, Double?) = (row["accuracy"], row["loss"])
      scores[[row["trial"], row["rung"]], default: []].append(
        SearchScore(accuracy: accuracy ?? .nan, loss: loss ?? .nan))
    }
    var reports: [Int: [Trial.Report]] = [:]
    for row in try Row.fetchAll(database, sql: "SELECT * FROM report ORDER BY trial, rung") {
      let (number, rung): (Int, Int) = (row["trial"], row["rung"])
      reports[number, default: []].append(
        Trial.Report(
          rung: rung, epoch: row["epoch"], scores: scores[[number, rung]] ?? [], seconds: row["seconds"]))
    }
    return try Row.fetchAll(database, sql: "SELECT * FROM trial ORDER BY number").map { row in
      let number: Int = row["number"]
      let (state, origin): (String, String) = (row["state"], row["origin"])
      let text: String = row["values"]
      guard let knownState = Trial.State(rawValue: state), let knownOrigin = Trial.Origin(rawValue: origin),
        let values = try? JSONDecoder().decode(Assignment.self, from: Data(text.utf8))
      else { throw SearchError("\(path) is damaged: trial \(number) cannot be read") }
      let heartbeat: Double? = row["heartbeat"]
      return Trial(
        number: number, state: knownState, origin: knownOrigin, values: values, rung: row["rung"],
        reports: reports[number] ?? [], message: row["message"], owner: row["owner"],
        heartbeat: heartbeat.map { Date(timeIntervalSince1970: $0) })
    }
  }

  // MARK: The file

  private func write<Value>(_ change: (Database) throws -> Value) throws -> Value {
    try Self.mapping(path) {
      try queue.writeWithoutTransaction { database in
        var result: Value?
        // It takes the lock before it reads: what it decides by cannot change until it is written.
        try database.inTransaction(.immediate) {
          result = try change(database)
          return .commit
        }
        guard let result else { throw SearchError("\(path) was not written", isMendable: false) }
        return result
      }
    }
  }

  private static func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  /// What SQLite says, in words.
  private static func mapping<Value>(_ path: String, _ body: () throws -> Value) throws -> Value {
    do { return try body() } catch let error as DatabaseError {
      switch error.resultCode {
      case .SQLITE_NOTADB, .SQLITE_CORRUPT:
        throw SearchError("\(path) is no study, or damaged: name another folder, or move the file away and begin anew")
      case .SQLITE_FULL: throw FileError(path: path, code: ENOSPC)
      case .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_PERM: throw FileError(path: path, code: EACCES)
      case .SQLITE_BUSY, .SQLITE_LOCKED:
        throw SearchError("another process has kept \(path) locked for a minute: is it hanging?", isMendable: false)
      default: throw SearchError("\(path): \(error.message ?? "\(error.resultCode)")", isMendable: false)
      }
    }
  }
}
