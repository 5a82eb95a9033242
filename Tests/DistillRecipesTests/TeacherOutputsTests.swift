import DistillData
import Distillation
import Foundation
import Synchronization
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

/// When a run asks the teacher once and not in each step, where it keeps what was said, and that nothing changes by that.
@Suite("Teacher outputs of a run") struct TeacherOutputsTests {
  private func recipe(
    _ teacher: String, data: String = "{dataset: digits}", training: String = "{epochs: 2, batch_size: 100}",
    terms: String = "[{soft_targets: {temperature: 2}}]"
  ) throws -> Configuration {
    try Configuration.parse(
      text: """
        name: outputs
        seeds: [1]
        threads: 1
        compare: false
        data: \(data)
        teacher: \(teacher)
        student: {model: {architecture: mlp, hidden: [4]}}
        terms: \(terms)
        training: \(training)
        """)
  }

  /// What a run says of asking its teacher once.
  private final class Lines: Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
    func note(_ event: RunEvent) {
      if case .outcome(let text) = event, text.contains("asked once") { texts.withLock { $0.append(text) } }
    }
  }

  /// A runner for a recipe, in a folder, and its distilled training.
  private func with(
    _ recipe: Configuration, in folder: String, lines: Lines = Lines(),
    mostBytesInMemory: Int? = nil
  ) throws -> (runner: TrainingRunner, job: TrainingJob) {
    let materials = try Materials(recipe.data, seed: recipe.dataSeed)
    var runner = TrainingRunner(
      materials: materials, teacherTestLogits: nil, device: .cpu, folder: RunFolder("\(folder)/run"),
      observer: { lines.note($0) })
    if let mostBytesInMemory { runner.teacherOutputs = TeacherOutputs(mostBytesInMemory: mostBytesInMemory) }
    return (runner, try TrainingJob(trialOf: recipe, materials: materials))
  }

  @Test("Left open, the teacher is asked once where inputs come again and are shown often enough")
  func whenItPays() throws {
    try RunRecipe.withRun { run in
      let weights = "weights: \(run)/teacher"
      let views = ", augmentation: [{shift: 1}], views: 3"
      let cases: [(teacher: String, data: String, epochs: Int, asksOnce: Bool)] = [
        ("", "", 1, true),
        ("", views, 3, true),
        // Two epochs show two of three views.
        ("", views, 2, false),
        (", precompute: true", views, 2, true),
        (", precompute: false", views, 30, false),
        ("", ", augmentation: [{shift: 1}]", 30, false),
        ("", ", augmentation: [{shift: 1}], teacher_view: plain", 1, true),
      ]
      for (teacher, data, epochs, asksOnce) in cases {
        let (runner, job) = try with(
          try recipe(
            "{\(weights)\(teacher)}", data: "{dataset: digits\(data)}",
            training: "{epochs: \(epochs), batch_size: 100}"), in: run)
        #expect(try runner.precomputes(job) == asksOnce, "\(teacher) \(data) \(epochs)")
      }
    }
  }

  @Test("Kept in memory or in files, it is what the teacher says, and the student is the same bit for bit")
  func memoryAndFiles() throws {
    try RunRecipe.withRun { run in
      let made = try recipe(
        "{weights: \(run)/teacher}", data: "{dataset: digits, augmentation: [{shift: 1}], views: 2}")
      let (inMemory, job) = try with(made, in: "\(run)/a", mostBytesInMemory: 1 << 30)
      let (inFiles, _) = try with(made, in: "\(run)/b", mostBytesInMemory: 0)
      let maker = try #require(try inMemory.teacherMaker(job))
      let live = try maker.makeTeacher()
      let teachers = try [inMemory, inFiles].map { runner in
        try runner.teacherOutputs.teacher(
          from: maker, over: runner.labelLoader(job), bytes: runner.outputBytes(job), in: runner.folder, shown: 10,
          observer: { _ in })
      }
      let loader = try inMemory.makeLoader(job)
      for epoch in 0..<2 {
        let batch = try #require(try loader.batches(epoch: epoch).next())
        let said = try teachers.map { try $0.trace(batch).logits() }
        let expected = try live.trace(batch).logits()
        #expect(try said[0].equals(said[1]).all())
        let largest = try (said[0] - expected).absolute().maximum(along: 1).maximum(along: 0).item() as Double
        #expect(largest < 1e-5)
      }
      // Whole trainings.
      let label = RunEvent.TrainingLabel(name: "x", number: 1, count: 1)
      let students = try [inMemory, inFiles].map { runner in
        _ = try runner.run(job, label: label)
        return try RunRecipe.read("\(runner.folder.job(job.folderName).model)/model.safetensors")
      }
      #expect(students[0] == students[1])
      #expect(FileManager.default.fileExists(atPath: inFiles.folder.labels))
      #expect(!FileManager.default.fileExists(atPath: inMemory.folder.labels))
    }
  }

  @Test("A run that is gone on with finds what its files hold, and it says so in one line")
  func foundAgain() throws {
    try RunRecipe.withRun { run in
      let made = try recipe("{weights: \(run)/teacher}")
      func files() throws -> [String: Date] {
        let folder = "\(run)/c/run/labels"
        return try Dictionary(
          uniqueKeysWithValues: FileManager.default.subpathsOfDirectory(atPath: folder).map { name in
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
            return (name, try #require(attributes[.modificationDate] as? Date))
          })
      }
      for turn in 0..<2 {
        let lines = Lines()
        let (runner, job) = try with(made, in: "\(run)/c", lines: lines, mostBytesInMemory: 1000)
        let before = turn == 0 ? nil : try files().filter { $0.key.hasSuffix("safetensors") }
        try runner.label(for: [job], threads: 1)
        try runner.label(for: [job], threads: 1)
        let line = try #require(lines.all.first)
        #expect(lines.all.count == 1 && line.contains("asked once and not in each step"), "\(lines.all)")
        #expect(line.contains("/labels/") && line.contains("teacher.precompute: false"), "\(line)")
        if let before { #expect(try files().filter { $0.key.hasSuffix("safetensors") } == before) }
      }
    }
  }

  @Test("Members that are weighed in another way are not asked again, in files either") func weighing() throws {
    try RunRecipe.withRun { run in
      let members = "{members: [{weights: \(run)/teacher, weight: W}, {weights: \(run)/teacher}]}"
      let recipes = try ["1", "3"].map { try recipe(members.replacing("W", with: $0)) }
      let (runner, _) = try with(recipes[0], in: "\(run)/d", mostBytesInMemory: 0)
      let lines = Lines()
      let weights = try recipes.map { recipe in
        let job = try TrainingJob(trialOf: recipe, materials: runner.materials)
        let maker = try #require(try runner.teacherMaker(job))
        let teacher = try runner.teacherOutputs.teacher(
          from: maker, over: runner.labelLoader(job), bytes: runner.outputBytes(job), in: runner.folder, shown: 10,
          observer: { lines.note($0) })
        let batch = try #require(try runner.makeLoader(job).batches(epoch: 0).next())
        return try teacher.trace(batch).memberWeights
      }
      #expect(weights == [[0.5, 0.5], [0.75, 0.25]] && lines.all.count == 1)
    }
  }

  @Test("What was kept goes when the run is done; check says where it will be") func whole() throws {
    try RunRecipe.withRun { run in
      let made = try recipe("{weights: \(run)/teacher}")
      let lines = Lines()
      _ = try Experiment(made, folder: RunFolder("\(run)/e")) { lines.note($0) }.run(.resuming)
      #expect(lines.all.count == 1 && lines.all.allSatisfy { $0.contains("in memory") }, "\(lines.all)")
      #expect(!FileManager.default.fileExists(atPath: "\(run)/e/labels"))
      let check = Preflight.of(made, folder: "\(run)/f").findings.map(\.text)
      #expect(check.contains { $0.contains("asked once and not in each step") && $0.contains("in memory") }, "\(check)")
      let off = try recipe("{weights: \(run)/teacher, precompute: false}")
      let none = Lines()
      _ = try Experiment(off, folder: RunFolder("\(run)/g")) { none.note($0) }.run(.resuming)
      #expect(none.all.isEmpty)
      #expect(!Preflight.of(off, folder: "\(run)/f").findings.contains { $0.text.contains("asked once") })
    }
  }

  @Test("What is kept has the size that was said, with members that know a part of the classes too") func sizes() throws
  {
    try RunRecipe.withRun { run in
      let text = "{members: [{weights: \(run)/teacher}, {weights: \(run)/teacher}]}"
      let made = try recipe(text, data: "{dataset: digits, augmentation: [{shift: 1}], views: 2}")
      let (runner, job) = try with(made, in: "\(run)/h", mostBytesInMemory: 0)
      try runner.label(for: [job], threads: 1)
      let bytes = try runner.outputBytes(job)
      #expect(try bytes == runner.labelledExamples(job).count * 2 * 20 * 4)
      let caches = try FileManager.default.contentsOfDirectory(atPath: runner.folder.labels)
      let cache = try TeacherCache("\(runner.folder.labels)/\(try #require(caches.first))")
      // Beside the numbers stand heads and the examples' numbers.
      #expect(cache.byteCount >= bytes && cache.byteCount < bytes + bytes / 5)
    }
    // One answer of them all, though each of them is a model.
    let specialists = try Configuration.parse(
      text: RunRecipe.text().replacing(
        "training: {epochs: 1, batch_size: 128}\nstudent",
        with: "training: {epochs: 1, batch_size: 128}\n  specialists: {count: 2}\nstudent"))
    let teacher = try #require(specialists.teacher)
    #expect(teacher.specialists != nil && teacher.outputCount(classCount: 10) == 10)
    var members = try #require(try recipe("{members: [{weights: a}, {weights: b}]}").teacher)
    members.members[1].classes = ["1", "2", "3"]
    #expect(members.outputCount(classCount: 10) == 13)
  }

  @Test("Check adds up what trainings keep, as the run does: what is beyond the memory goes into files")
  func together() throws {
    try RunRecipe.withRun { run in
      let plain = try recipe("{weights: \(run)/teacher}")
      let views = try recipe(
        "{weights: \(run)/teacher}", data: "{dataset: digits, augmentation: [{shift: 1}], views: 2}")
      let settings = [("a", plain), ("b", plain), ("c", views)]
      let materials = try Materials(plain.data, seed: plain.dataSeed)
      let bytes = try settings.map { name, recipe in
        let (runner, job) = try with(recipe, in: "\(run)/i")
        return try runner.outputBytes(job)
      }
      #expect(bytes[2] == 2 * bytes[0])
      // The second setting asks what the first asked.
      for (most, places) in [(bytes[0] + bytes[2], [true, true]), (bytes[2], [true, false]), (0, [false, false])] {
        let check = PreflightCheck(plain, folder: RunFolder("\(run)/j"), observer: { _ in })
        ModelCheck(check: check, materials: materials, device: .cpu, mostBytesInMemory: most).run(settings)
        let told = check.result.findings.map(\.text).filter { $0.contains("asked once") }
        #expect(told.map { $0.contains("in memory") } == places, "\(told)")
        // And the run.
        let lines = Lines()
        let (runner, first) = try with(plain, in: "\(run)/k\(most)", lines: lines, mostBytesInMemory: most)
        let jobs = [first, first, try TrainingJob(trialOf: views, materials: materials)]
        try runner.label(for: jobs, threads: 1)
        #expect(lines.all.map { $0.contains("in memory") } == places, "\(lines.all)")
      }
    }
  }

  @Test("What is spared is told by the pace after the first batch, and of what this run asked")
  func pace() {
    let start = ContinuousClock.now
    var whole = TeacherOutputs.Pace()
    // Half a minute goes into the first batch of four; each other takes two seconds.
    whole.reached(0.25, at: start + .seconds(30))
    #expect(whole.secondsForAll == nil)
    whole.reached(0.5, at: start + .seconds(32))
    whole.reached(1, at: start + .seconds(36))
    #expect(whole.secondsForAll == 8)
    var goneOn = TeacherOutputs.Pace()
    goneOn.reached(0.75, at: start + .seconds(1))
    goneOn.reached(1, at: start + .seconds(3))
    #expect(goneOn.secondsForAll == 8)

    let words = TeacherOutputs.words(bytes: 2000, place: "memory", 36, spared: 80)
    #expect(words.contains("which took \(Quantity.seconds(36)) and spares each training about \(Quantity.seconds(80))"))
    #expect(!TeacherOutputs.words(bytes: 2000, place: "memory", 36, spared: nil).contains("spares"))
  }
}
