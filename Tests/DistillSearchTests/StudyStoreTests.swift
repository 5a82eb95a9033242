import Foundation
import GRDB
import Testing
import Torch

@testable import DistillSearch

@Suite("Study store")
struct StudyStoreTests {
  private static let definition = StudyDefinition(
    name: "test", recipe: "name: test\n",
    space: SearchSpace([
      SearchKey("x", .numbers(low: 0, high: 1, isLogarithmic: false)), SearchKey("k", .choices(["a", "b c"])),
    ]), sampler: .bayesian(startup: 5), halving: nil, trainingSeeds: [1, 2], seed: 3)

  private func withStudy(
    _ definition: StudyDefinition = definition, _ body: (StudyStore, String) throws -> Void
  ) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-study-\(UUID().uuidString)")
      .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = "\(folder)/study.sqlite"
    let store = try StudyStore(path: path)
    #expect(try store.definition() == nil)
    try store.begin(definition)
    try body(store, path)
  }

  private func begun(_ work: StudyStore.Work) throws -> Trial {
    guard case .trial(let trial) = work else {
      Issue.record("\(work)")
      throw SearchError("no trial")
    }
    return trial
  }

  private let good = SearchScore(accuracy: 0.75, loss: 0.5)

  @Test("What was written is read again, by another connection too")
  func roundTrip() throws {
    let halving = try Halving(factor: 3, first: 1, whole: 9)
    var definition = Self.definition
    definition.halving = halving
    try withStudy(definition) { store, path in
      let worker = Worker()
      let first = try begun(store.claim(worker, limit: 3))
      #expect(first.number == 1 && first.state == .running && first.owner == worker.name && first.origin == .random)
      #expect(Set(first.values.keys) == ["x", "k"])
      let scores = [good, SearchScore(accuracy: 0.25, loss: .infinity)]
      #expect(try store.report(first, scores: scores, epoch: 1, seconds: 2.5, isWhole: false, by: worker))
      let second = try begun(store.claim(worker, limit: 3))
      try store.fail(second, "it's \"over\"\nfor good", by: worker)

      let other = try StudyStore(path: path)
      #expect(try other.definition() == definition)
      let trials = try other.trials()
      #expect(trials.map(\.number) == [1, 2])
      #expect(trials[0].state == .paused && trials[0].values == first.values && trials[0].owner == nil)
      #expect(trials[0].reports == [Trial.Report(rung: 0, epoch: 1, scores: scores, seconds: 2.5)])
      #expect(trials[0].score == SearchScore(accuracy: 0.5, loss: .infinity), "the mean over the seeds")
      #expect(trials[1].state == .failed && trials[1].message == "it's \"over\"\nfor good")
      #expect(trials[1].score == nil)
    }
  }

  @Test("The values that a recipe has are tried first, once")
  func ownValues() throws {
    var definition = Self.definition
    definition.ownValues = ["x": "0.5", "k": "1"]
    try withStudy(definition) { store, _ in
      let first = try begun(store.claim(Worker(), limit: 3))
      #expect(first.origin == .recipe && first.values == definition.ownValues)
      let second = try begun(store.claim(Worker(), limit: 3))
      #expect(second.origin == .random && second.values != definition.ownValues)
    }
  }

  @Test("A training that ends before its time counts at all rungs")
  func earlyEnd() throws {
    var definition = Self.definition
    definition.halving = try Halving(factor: 3, first: 1, whole: 9)
    try withStudy(definition) { store, _ in
      let worker = Worker()
      let trial = try begun(store.claim(worker, limit: 1))
      try store.report(trial, scores: [good], epoch: 1, seconds: 1, isWhole: true, by: worker)
      let kept = try #require(try store.trials().first)
      #expect(kept.state == .done && kept.rung == 2)
      #expect(kept.reports.map(\.rung) == [0, 1, 2] && kept.seconds == 1)
      #expect(try store.claim(worker, limit: 1) == .finished)
    }
  }

  @Test("Another definition is refused with what differs, the same one is not")
  func definitions() throws {
    try withStudy { store, _ in
      try store.begin(Self.definition)
      var other = Self.definition
      other.goal = .loss
      other.seed = 4
      let error = #expect(throws: SearchError.self) { try store.begin(other) }
      let text = error?.description ?? ""
      #expect(text.contains("what is looked for, the seed of the search differ."), "\(text)")
    }
  }

  @Test("A trial has one owner; a process that has lost it can write nothing about it")
  func owners() throws {
    try withStudy { store, path in
      let (first, second) = (Worker(), Worker())
      let trial = try begun(store.claim(first, limit: 1))
      let other = try StudyStore(path: path)
      // The first one lives: it is this process.
      #expect(try other.claim(second, limit: 1) == .wait)
      #expect(try !other.report(trial, scores: [good], epoch: 1, seconds: 1, isWhole: true, by: second))
      #expect(try store.giveBack(trial, by: first))
      let taken = try begun(other.claim(second, limit: 1))
      #expect(taken.number == trial.number && taken.values == trial.values && taken.owner == second.name)
      #expect(try !store.report(trial, scores: [good], epoch: 1, seconds: 1, isWhole: true, by: first))
      #expect(try !store.fail(trial, "late", by: first))
      #expect(try other.report(taken, scores: [good], epoch: 1, seconds: 1, isWhole: true, by: second))
      #expect(try other.claim(second, limit: 1) == .finished)
    }
  }

  @Test("The trial of a process that ended is taken up at once, that of one that is silent after a while")
  func silence() throws {
    try withStudy { store, _ in
      let host = ProcessInfo.processInfo.hostName.replacing(":", with: "-")
      // A process that has ended: its number is free again, or a zombie's that is waited for here.
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments = ["-c", "exit 0"]
      try process.run()
      let number = process.processIdentifier
      process.waitUntilExit()
      let dead = Worker(name: "\(host):\(number):1")
      let trial = try begun(store.claim(dead, limit: 1))
      let taken = try begun(store.claim(Worker(), limit: 1))
      #expect(taken.number == trial.number)

      var far = taken
      far.owner = "elsewhere:1:2"
      let now = Date()
      far.heartbeat = now.addingTimeInterval(-Worker.silence + 1)
      #expect(Worker.isAlive(far, now: now))
      far.heartbeat = now.addingTimeInterval(-Worker.silence - 1)
      #expect(!Worker.isAlive(far, now: now))
    }
  }

  @Test("A beat puts off the silence")
  func beats() throws {
    try withStudy { store, _ in
      let worker = Worker()
      let trial = try begun(store.claim(worker, limit: 1))
      Thread.sleep(forTimeInterval: 0.02)
      try store.beat(worker)
      let kept = try #require(try store.trials().first)
      let (before, after) = try (#require(trial.heartbeat), #require(kept.heartbeat))
      #expect(after > before)
    }
  }

  @Test("Processes that ask at the same time are given different trials, and as many as were asked for")
  func manyAtOnce() throws {
    try withStudy { _, path in
      let score = good
      DispatchQueue.concurrentPerform(iterations: 4) { _ in
        do {
          let store = try StudyStore(path: path)
          let worker = Worker()
          while case .trial(let trial) = try store.claim(worker, limit: 40) {
            try store.report(trial, scores: [score], epoch: 1, seconds: 0, isWhole: true, by: worker)
          }
        } catch { Issue.record(error) }
      }
      let trials = try StudyStore(path: path).trials()
      #expect(trials.map(\.number) == Array(1...40))
      #expect(trials.allSatisfy { $0.state == .done && $0.reports.count == 1 })
    }
  }

  @Test("A study that is not there yet is made once, however many open it at the same time")
  func manyAtTheBeginning() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-study-\(UUID().uuidString)")
      .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for number in 1...20 {
      DispatchQueue.concurrentPerform(iterations: 4) { _ in
        do { #expect(try StudyStore(path: "\(folder)/\(number).sqlite").wantedTrials() == nil) } catch {
          Issue.record(error)
        }
      }
    }
    let left = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(left.allSatisfy { !$0.hasSuffix(".lock") }, "\(left)")
  }

  @Test("What is no study is refused in one sentence")
  func damaged() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-study-\(UUID().uuidString)")
      .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Data(String(repeating: "no database ", count: 500).utf8).write(to: URL(fileURLWithPath: "\(folder)/a.sqlite"))
    let error = #expect(throws: SearchError.self) { try StudyStore(path: "\(folder)/a.sqlite") }
    #expect(error?.description.contains("is no study, or damaged") ?? false)
    #expect(throws: (any Error).self) { try StudyStore(path: "\(folder)/nowhere/a.sqlite") }

    let other = try DatabaseQueue(path: "\(folder)/b.sqlite")
    try other.write { try $0.execute(sql: "CREATE TABLE birds (name TEXT)") }
    #expect(throws: SearchError.self) { try StudyStore(path: "\(folder)/b.sqlite") }
    let tables = try other.read { try String.fetchAll($0, sql: "SELECT name FROM sqlite_master") }
    #expect(tables == ["birds"], "another program's file stays as it is")
  }
}
