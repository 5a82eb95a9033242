import DistillRuntime
import Foundation
import TestSupport
import Testing
import Torch

@testable import DistillRecipes

@Suite("Run folders", .serialized)
struct RunFolderTests {
  @Test(
    "A run is only replaced by a recipe that can be done",
    arguments: ["device=cuda:97", "data={dataset: csv, path: nope}", "teacher={weights: nope}", "student.weights=nope"])
  func overwriteWithABadRecipe(change: String) throws {
    try RunRecipe.withRun { run in
      let before = try RunRecipe.contents(of: run)
      let recipe = try RunRecipe.configuration(overrides: [change])
      let error = try #require(throws: RunError.self) { try RunRecipe.run(recipe, in: run, .overwriting) }
      #expect(error.kind == .usage)
      #expect(try RunRecipe.contents(of: run) == before)
    }
  }

  @Test("What a recipe reads is not replaced with the run that holds it", arguments: ["teacher", "student"])
  func overwriteItsOwnInput(role: String) throws {
    try RunRecipe.withRun { run in
      let before = try RunRecipe.contents(of: run)
      let change = role == "teacher" ? "teacher={weights: \(run)/teacher}" : "student.weights=\(run)/student"
      let recipe = try RunRecipe.configuration(overrides: [change])
      let error = try #require(throws: RunError.self) { try RunRecipe.run(recipe, in: run, .overwriting) }
      #expect(error.description.contains("\(role).weights"))
      #expect(error.description.contains("lies in the run folder"))
      #expect(try RunRecipe.contents(of: run) == before)
    }
  }

  @Test("A run folder is let go of though a process that forked off still has its lock open")
  func forkedLock() throws {
    try RunRecipe.withFolder { folder in
      let run = RunFolder("\(folder)/run")
      var lock: RunLock? = try run.lock()
      let copies = copiesOfDescriptors(of: "\(folder)/run/.lock")
      defer { for copy in copies { close(copy) } }
      #expect(lock != nil && copies.count == 1)
      #expect(throws: RunError.self) { try run.lock() }
      lock = nil
      lock = try run.lock()
    }
  }

  @Test("A run that fails puts the old one back; files that no run wrote stay")
  func overwriteThatFails() throws {
    try RunRecipe.withRun { run in
      try RunRecipe.write("mine", to: "\(run)/student/notes.txt")
      let before = try RunRecipe.contents(of: run)
      let recipe = try RunRecipe.configuration(
        training: "{epochs: 1, batch_size: 128, optimizer: {kind: sgd, learning_rate: 1e30}}")
      #expect(throws: (any Error).self) { try RunRecipe.run(recipe, in: run, .overwriting) }
      #expect(try RunRecipe.contents(of: run) == before)
    }
  }

  @Test("A run that is interrupted is gone on with; the old one waits until it is done")
  func overwriteThatIsInterrupted() throws {
    try RunRecipe.withRun { run in
      let old = try RunRecipe.read("\(run)/metrics.json")
      let recipe = try RunRecipe.configuration(training: "{epochs: 2, batch_size: 128}")
      let experiment = Experiment(recipe, folder: RunFolder(run)) { event in
        // As if the disk were full: in the place of a file there is a folder.
        guard case .stage("Comparing") = event else { return }
        try? FileManager.default.createDirectory(atPath: "\(run)/report.html", withIntermediateDirectories: true)
      }
      #expect(throws: FileError.self) { try experiment.run(.overwriting) }
      #expect(!RunFolder(run).isComplete && RunFolder(run).exists)
      #expect(try RunRecipe.read("\(RunFolder(run).aside)/metrics.json") == old)
      try FileManager.default.removeItem(atPath: "\(run)/report.html")
      let resumed = try RunRecipe.run(try Configuration.load(path: RunFolder(run).recipe), in: run)
      #expect(resumed.data.settings[0].arms.count == 2)
      #expect(RunFolder(run).isComplete && !FileManager.default.fileExists(atPath: RunFolder(run).aside))
    }
  }

  @Test("A run that is done takes the place of the old one; files that no run wrote stay")
  func overwrite() throws {
    try RunRecipe.withRun { run in
      try RunRecipe.write("mine", to: "\(run)/jobs/notes.txt")
      let old = try #require(RunRecipe.jobs(in: run, "alone").first)
      let recipe = try RunRecipe.configuration(training: "{epochs: 2, batch_size: 128}")
      try RunRecipe.run(recipe, in: run, .overwriting)
      #expect(!FileManager.default.fileExists(atPath: old))
      #expect(!FileManager.default.fileExists(atPath: RunFolder(run).aside))
      #expect(try RunRecipe.read("\(run)/jobs/notes.txt") == Data("mine".utf8))
      #expect(RunFolder(run).isComplete)
    }
  }

  @Test(
    "A folder that holds something else is not touched",
    arguments: ["student/model.safetensors", "report.html", "recipe.yaml", "run.json", ".hidden"],
    [Experiment.Start.new, .resuming, .overwriting])
  func foreign(file: String, start: Experiment.Start) throws {
    try RunRecipe.withFolder { folder in
      try RunRecipe.write("precious", to: "\(folder)/\(file)")
      let error = try #require(throws: RunError.self) {
        try RunRecipe.run(try RunRecipe.configuration(), in: folder, start)
      }
      #expect(error.kind == .usage)
      #expect(error.description.contains("not empty"))
      #expect(error.description.contains("--output"))
      #expect(try RunRecipe.contents(of: folder).filter { !$0.value.isEmpty } == [file: Data("precious".utf8)])
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/.lock"))
      let found = Preflight.of(try RunRecipe.configuration(), folder: folder)
      #expect(found.findings.contains { $0.mark == .problem && $0.text.contains("not empty") })
    }
  }

  @Test("A run folder needs a name and a place; check says so too", arguments: ["", " ", "/proc/x", "/dev/null/x"])
  func unusable(path: String) throws {
    let recipe = try RunRecipe.configuration()
    let error = try #require(throws: RunError.self) { try RunRecipe.run(recipe, in: path, .new) }
    #expect(error.kind == .usage)
    #expect(error.description.contains("run folder"))
    for raw in ["NSCocoa", "couldn", "could not be completed"] { #expect(!error.description.contains(raw)) }
    let found = Preflight.of(recipe, folder: path)
    #expect(found.findings.contains { $0.mark == .problem && $0.subject == "run folder" })
  }

  @Test("A teacher is trained neither over a run that is done nor over somebody's model")
  func train() throws {
    let recipe = try RunRecipe.configuration()
    try RunRecipe.withRun { run in
      let before = try RunRecipe.contents(of: run)
      let error = try #require(throws: RunError.self) {
        try Experiment(recipe, folder: RunFolder(run)).trainTeacher()
      }
      #expect(error.description.contains("is done"))
      #expect(try RunRecipe.contents(of: run) == before)
      let target = "\(run)-model"
      try RunRecipe.write("precious", to: "\(target)/README.md")
      let experiment = Experiment(recipe, folder: RunFolder("\(run)-teacher"))
      let second = try #require(throws: RunError.self) { try experiment.trainTeacher(saveTo: ModelFolder(target)) }
      #expect(second.description.contains("--force"))
      #expect(try RunRecipe.contents(of: target) == ["README.md": Data("precious".utf8)])
      _ = try experiment.trainTeacher(saveTo: ModelFolder(target), replacing: true)
      #expect(ModelFolder(target).exists)
      // What is not done is gone on with, by the same recipe only.
      _ = try experiment.trainTeacher()
      let other = try RunRecipe.configuration(overrides: ["teacher.training.epochs=2"])
      let third = try #require(throws: RunError.self) {
        try Experiment(other, folder: RunFolder("\(run)-teacher")).trainTeacher()
      }
      #expect(third.description.contains("another recipe (teacher)"))
    }
  }

  @Test("The recipe of a run folder names files in full")
  func absolutePaths() throws {
    let base = FileManager.default.currentDirectoryPath
    let recipe = try Configuration.parse(
      text: """
        name: paths
        data: {dataset: csv, path: files}
        teacher: {weights: t/model.safetensors}
        student: {model: {architecture: mlp}, weights: /s}
        settings:
          - {name: a, set: {student.weights: w}}
          - {name: b, set: {student: {model: {architecture: mlp}, weights: v}}}
        """)
    let read = try Configuration.parse(text: recipe.yamlWithAbsoluteFiles)
    #expect(read.data.path == "\(base)/files")
    #expect(read.teacher?.members.first?.weights == "\(base)/t/model.safetensors")
    #expect(read.student.weights == "/s")
    let settings = try read.resolvedSettings().map(\.configuration.student.weights)
    #expect(settings == ["\(base)/w", "\(base)/v"])
    for part in Configuration.Part.allCases {
      #expect(try read.identity(of: [part]) == recipe.identity(of: [part]), "\(part)")
    }
    let known = try Configuration.parse(
      text: "data: {dataset: fashion-mnist}\nteacher: {weights: t}\nstudent: {model: {architecture: mlp}}")
    #expect(try Configuration.parse(text: known.yamlWithAbsoluteFiles).data.path == "\(base)/data/fashion-mnist")
  }

  @Test("A missing file is named with the folder in which it was looked for")
  func whereItWasLookedFor() throws {
    try RunRecipe.withFolder { folder in
      for change in ["data={dataset: csv, path: nope}", "teacher={weights: nope}"] {
        let recipe = try RunRecipe.configuration(overrides: [change])
        let error = try #require(throws: RunError.self) { try RunRecipe.run(recipe, in: "\(folder)/run", .new) }
        #expect(
          error.description.contains("nope does not exist in the folder \(FileManager.default.currentDirectoryPath)"))
      }
    }
  }

  @Test(
    "A name that is no folder is refused with its place", arguments: ["a/b", "..", ".", "\"a\\tb\"", "\"a\\u0007\""])
  func badNames(name: String) throws {
    let text = RunRecipe.text().replacingOccurrences(of: "name: small", with: "name: \(name)")
    let error = try #require(throws: RecipeError.self) { try Configuration.parse(text: text) }
    #expect(error.problems.map(\.line) == [1])
    #expect(error.problems.map(\.column) == [7])
    #expect(error.problems[0].message.contains("run folder"))
    #expect(throws: Never.self) { try Configuration.parse(text: text + "\noutput: runs/other") }
  }

  @Test("The system's reasons are told in our words")
  func reasons() {
    for code in [4, 257, 260, 512, 513, 516, 640, 642] {
      let text = reason(NSError(domain: NSCocoaErrorDomain, code: code))
      #expect(!text.contains("NSCocoa") && !text.contains("operation"), "\(text)")
    }
    #expect(reason(NSError(domain: NSPOSIXErrorDomain, code: Int(EACCES))) == String(cString: strerror(EACCES)))
    let error = #expect(throws: DecodingError.self) { let _: [Int] = try ResultJSON.decode(Data("{\"a".utf8)) }
    #expect(error.map(explanation)?.contains("damaged, or cut off") == true)
    #expect(FileError(path: "a", code: ENOSPC).isDiskFull && !FileError(path: "a", code: ENOSPC).isUnusablePlace)
    #expect(FileError(path: "a", code: EROFS).isUnusablePlace && FileError(path: "a", code: EACCES).isUnusablePlace)
  }
}
