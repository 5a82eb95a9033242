import Foundation
import Testing

@Suite("run, resume and train")
struct RunTests {
  @Test("A run leaves everything that people look for, and machines can read")
  func endToEnd() throws {
    let folder = try Sample.folder()
    let run = "\(folder)/runs/sample"
    for file in [
      "recipe.yaml", "manifest.json", "metrics.json", "report.html", "student/model.safetensors", "student/config.json",
      "student/README.md", "teacher/model.safetensors",
    ] {
      #expect(FileManager.default.fileExists(atPath: "\(run)/\(file)"), "\(file)")
    }
    let metrics = try #require(try JSONSerialization.jsonObject(with: read("\(run)/metrics.json")) as? [String: Any])
    let teacher = try #require(metrics["teacher"] as? [String: Any])
    #expect(try #require(teacher["accuracy"] as? Double) > 0.9)
    #expect(metrics["gain"] is [String: Any])
    let jobs = try FileManager.default.contentsOfDirectory(atPath: "\(run)/jobs").sorted()
    #expect(jobs.count == 5)
    for job in jobs {
      let lines = try curves("\(run)/jobs/\(job)")
      #expect(lines.count > 3 && lines.last?.contains("test/accuracy") == true, "\(job)")
    }
  }

  @Test("metrics.json has the numbers of every figure of the report")
  func figures() throws {
    let run = "\(try Sample.folder())/runs/sample"
    let metrics = try #require(try JSONSerialization.jsonObject(with: read("\(run)/metrics.json")) as? [String: Any])
    let figures = try #require(metrics["figures"] as? [String: Any])
    #expect((figures["classes"] as? [String])?.count == 10)
    #expect((figures["similarities"] as? [[String: Any]])?.count == 4)
    let settings = try #require(figures["settings"] as? [[String: Any]])
    let arms = try #require(settings.first?["arms"] as? [[String: Any]])
    #expect(arms.map { $0["name"] as? String } == ["alone", "distilled"])
    for arm in arms {
      let curves = try #require(arm["curves"] as? [String: Any])
      let accuracy = try #require(curves["validation_accuracy"] as? [[String: Double]])
      #expect(accuracy.count == 10)
      for point in accuracy {
        let (low, mean, high) = (point["low"] ?? 1, point["mean"] ?? 0, point["high"] ?? 0)
        #expect(low <= mean && mean <= high)
      }
      #expect(accuracy.contains { ($0["low"] ?? 0) < ($0["high"] ?? 0) }, "two seeds make a band")
      #expect((arm["confusion"] as? [[Int]])?.count == 10)
      #expect((arm["classes"] as? [[String: Any]])?.count == 10)
      #expect((arm["reliability"] as? [[String: Any]])?.count == 15)
    }
    let parts = (arms[1]["curves"] as? [String: Any])?["loss_parts"] as? [String: Any]
    #expect(parts?.keys.sorted() == ["hard labels", "soft targets"])
  }

  @Test("--json prints the numbers and nothing else; --quiet prints no progress")
  func machines() throws {
    try Sample.withTeacher { folder in
      let json = try Command.run(["run", "--json", "--output", "a"], in: folder)
      #expect(json.code == 0)
      #expect(json.errors.isEmpty)
      #expect(try json.object()["schema"] as? Int == 1)
      let quiet = try Command.run(["run", "--quiet", "--output", "b"], in: folder)
      #expect(quiet.code == 0)
      #expect(quiet.errors.isEmpty)
      let train = try Command.run(
        [
          "train", "--json", "--output", "c", "teacher.training={epochs: 2}",
          "teacher.weights=new", "teacher.model={architecture: mlp, hidden: [8]}",
        ], in: folder)
      #expect(train.code == 0, "\(train.everything)")
      #expect(try train.object()["path"] is String)
      // A model that is somewhere already is only replaced when that is wanted.
      let save = ["train", "--output", "c2", "--save-to", "teacher", "--json"]
      let how = ["teacher={model: {architecture: mlp, hidden: [8]}, training: {epochs: 1}}"]
      let before = try contents(of: "\(folder)/teacher")
      let refused = try Command.run(save + how, in: folder)
      #expect(refused.code == 2 && refused.errors.contains("--force"), "\(refused.everything)")
      #expect(try contents(of: "\(folder)/teacher") == before)
      #expect(try Command.run(save + how + ["--force"], in: folder).code == 0)
      #expect(try contents(of: "\(folder)/teacher") != before)
      let done = try Command.run(["train", "--output", "a"] + how, in: folder)
      #expect(done.code == 2 && done.errors.contains("is done"))
    }
  }

  @Test("Warnings are told also where progress is not wanted, and JSON stays JSON", arguments: ["--quiet", "--json"])
  func warnings(flag: String) throws {
    try Sample.withTeacher { folder in
      let one = try Command.run(["run", "--output", "r", "seeds=[1]", flag], in: folder)
      #expect(one.code == 0)
      #expect(one.errors.contains("warning: one seed cannot tell a gain from luck"), "\(one.errors)")
      let recipe = String(decoding: try read("\(folder)/r/recipe.yaml"), as: UTF8.self)
      try write(
        recipe.replacingOccurrences(of: "temperature: 4", with: "temperature: 3"), to: "\(folder)/r/recipe.yaml")
      let altered = try Command.run(["resume", "r", flag], in: folder)
      #expect(altered.code == 0)
      #expect(altered.errors.contains("terms changed"), "\(altered.errors)")
      let job = try #require(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/r/jobs").sorted().first)
      try write(Data([1, 2, 3]), to: "\(folder)/r/jobs/\(job)/model/model.safetensors")
      let damaged = try Command.run(["resume", "r", flag], in: folder)
      #expect(damaged.errors.contains("is done again"), "\(damaged.errors)")
      for outcome in [one, altered, damaged] {
        for progress in ["Loading", "on the test split", "Comparing"] { #expect(!outcome.errors.contains(progress)) }
        if flag == "--json" { #expect(try outcome.object()["schema"] as? Int == 1) }
      }
    }
  }

  @Test("A folder that holds a run is not touched")
  func existing() throws {
    let folder = try Sample.folder()
    let before = try contents(of: "\(folder)/runs/sample")
    let outcome = try Command.run(["run", "recipe.yaml"], in: folder)
    #expect(outcome.code == 2)
    #expect(outcome.errors.contains("distill resume runs/sample"))
    #expect(try contents(of: "\(folder)/runs/sample") == before)
  }

  @Test("A run that is whole is not done again")
  func whole() throws {
    try Sample.withTeacher { folder in
      #expect(try Command.run(["run", "--output", "r"], in: folder).code == 0)
      let before = try contents(of: "\(folder)/r")
      let again = try Command.run(["resume", "r"], in: folder)
      #expect(again.code == 0)
      let after = try contents(of: "\(folder)/r")
      for (name, data) in before where name.hasPrefix("jobs/") || name.hasPrefix("student/") {
        #expect(after[name] == data, "\(name)")
      }
    }
  }

  @Test("A run folder that another process works in is left to it")
  func inUse() throws {
    try Sample.withTeacher { folder in
      #expect(try Command.run(["run", "--output", "r"], in: folder).code == 0)
      let descriptor = open("\(folder)/r/.lock", O_RDWR)
      try #require(descriptor >= 0)
      defer { close(descriptor) }
      try #require(flock(descriptor, LOCK_EX) == 0)
      let before = try contents(of: "\(folder)/r")
      for arguments in [["resume", "r"], ["run", "--output", "r", "--overwrite"]] {
        let outcome = try Command.run(arguments, in: folder)
        #expect(outcome.code == 2)
        #expect(outcome.errors.contains("another process"))
        #expect(outcome.errors.contains("folder r"))
      }
      #expect(try contents(of: "\(folder)/r") == before)
      let state = try Command.run(["inspect", "r"], in: folder)
      #expect(state.output.contains("at work"))
    }
  }

  @Test("A place that cannot be written is said", arguments: ["occupied", "occupied/below"])
  func occupied(place: String) throws {
    try Sample.withTeacher { folder in
      try write("precious", to: "\(folder)/occupied")
      for command in ["run", "check"] {
        let outcome = try Command.run([command, "--output", place], in: folder)
        #expect(outcome.code == 2)
        #expect(outcome.everything.contains("occupied"))
      }
      #expect(try read("\(folder)/occupied") == Data("precious".utf8))
    }
  }

  /// Root may write everywhere. What lets it can be taken from a process, so that it is as anybody else.
  private func withoutPrivileges() -> [String] {
    guard getuid() == 0 else { return [] }
    let rights = "-dac_override,-dac_read_search"
    return ["/usr/bin/setpriv", "--bounding-set", rights, "--inh-caps", rights]
  }

  @Test("A folder without permission is said")
  func readOnly() throws {
    try Sample.withTeacher { folder in
      try FileManager.default.createDirectory(atPath: "\(folder)/closed", withIntermediateDirectories: true)
      chmod("\(folder)/closed", 0o555)
      defer { chmod("\(folder)/closed", 0o755) }
      for command in ["run", "check"] {
        let outcome = try Command.run([command, "--output", "closed/run"], in: folder, through: withoutPrivileges())
        #expect(outcome.code == 2)
        #expect(outcome.everything.contains("closed"), "\(outcome.everything)")
        #expect(try contents(of: "\(folder)/closed").isEmpty)
      }
    }
  }

  @Test("resume and train say what they lack")
  func lacking() throws {
    try Sample.withTeacher { folder in
      let resume = try Command.run(["resume", "nothere"], in: folder)
      #expect(resume.code == 2)
      #expect(resume.errors.contains("nothere"))
      let train = try Command.run(["train"], in: folder)
      #expect(train.code == 2)
      #expect(train.errors.contains("teacher.training"))
    }
  }

  @Test("A run is gone on with from any folder; an altered recipe says what it costs")
  func fromAnotherFolder() throws {
    try Sample.withTeacher { folder in
      #expect(try Command.run(["run", "--output", "r"], in: folder).code == 0)
      try withFolder { other in
        let same = try Command.run(["resume", "\(folder)/r"], in: other)
        #expect(same.code == 0, "\(same.everything)")
        #expect(!same.errors.contains("done anew"))
        #expect(try contents(of: other).isEmpty)
      }
      let recipe = String(decoding: try read("\(folder)/r/recipe.yaml"), as: UTF8.self)
      #expect(recipe.contains("weights: \(folder)/teacher"))
      try write(
        recipe.replacingOccurrences(of: "temperature: 4", with: "temperature: 3"), to: "\(folder)/r/recipe.yaml")
      let altered = try Command.run(["resume", "r"], in: folder)
      #expect(altered.code == 0)
      #expect(altered.errors.contains("terms changed"))
      #expect(altered.errors.contains("2 of 4 trainings are done anew"))
    }
  }

  @Test("A folder with files of one's own is refused by all commands, and nothing in it changes")
  func foreignFolder() throws {
    try Sample.withTeacher { folder in
      let before = try contents(of: folder)
      for arguments in [
        ["run", "-o", "."], ["run", "-o", ".", "--overwrite"], ["check", "-o", "."], ["resume", "."],
        ["run", "-o", "teacher"], ["run", "-o", ""], ["check", "-o", ""], ["run", "name=../x"],
        ["train", "-o", ".", "teacher.training={epochs: 1}", "teacher.model={architecture: mlp}"],
      ] {
        let outcome = try Command.run(arguments, in: folder)
        #expect(outcome.code == 2, "\(arguments): \(outcome.everything)")
        #expect(try contents(of: folder) == before, "\(arguments)")
      }
    }
  }

  #if os(Linux)
  @Test("A place that the system keeps for itself is refused by all commands", arguments: ["run", "check", "train"])
  func placesOfTheSystem(command: String) throws {
    try Sample.withTeacher { folder in
      let training = ["teacher={model: {architecture: mlp, hidden: [8]}, training: {epochs: 1}}"]
      let outcome = try Command.run([command, "-o", "/proc/x"] + (command == "train" ? training : []), in: folder)
      #expect(outcome.code == 2, "\(outcome.everything)")
      #expect(outcome.everything.contains("/proc"))
      #expect(!outcome.everything.contains("could") && !outcome.everything.contains("NSCocoa"))
    }
  }

  @Test("A full disk ends the run with 1, says so, and what was there stays", .enabled(if: getuid() == 0))
  func fullDisk() throws {
    try Sample.withTeacher { folder in
      try FileManager.default.createDirectory(atPath: "\(folder)/disk", withIntermediateDirectories: true)
      let mount = Process()
      mount.executableURL = URL(fileURLWithPath: "/bin/mount")
      mount.arguments = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", "\(folder)/disk"]
      mount.standardError = FileHandle.nullDevice
      try mount.run()
      mount.waitUntilExit()
      // A container may not be allowed to mount.
      guard mount.terminationStatus == 0 else { return }
      defer {
        let unmount = Process()
        unmount.executableURL = URL(fileURLWithPath: "/bin/umount")
        unmount.arguments = ["\(folder)/disk"]
        try? unmount.run()
        unmount.waitUntilExit()
      }
      try write(Data(repeating: 1, count: 40_000), to: "\(folder)/disk/mine")
      let outcome = try Command.run(["run", "--output", "disk/run"], in: folder)
      #expect(outcome.code == 1, "\(outcome.everything)")
      #expect(outcome.errors.contains("disk is full"))
      #expect(outcome.errors.contains("disk/run"))
      #expect(outcome.errors.contains("distill resume disk/run"))
      #expect(try read("\(folder)/disk/mine").count == 40_000)
      // With room again, it goes on.
      try FileManager.default.removeItem(atPath: "\(folder)/disk/mine")
      let left = try contents(of: "\(folder)/disk/run")
      #expect(left["recipe.yaml"] != nil)
      #expect(!left.keys.contains { $0.hasSuffix(".tmp") })
    }
  }
  #endif
}

@Suite("Interrupted = uninterrupted", .serialized)
struct InterruptionTests {
  private static func recipe(threads: Int) -> String {
    """
    name: long
    seeds: [1]
    threads: \(threads)
    data: {dataset: digits, augmentation: [{shift: 1}], views: 4}
    teacher: {weights: teacher}
    student: {model: {architecture: mlp, hidden: [128], dropout: 0.2}}
    terms:
      - soft_targets: {temperature: 2, weight: 0.9}
      - hard_labels: {weight: 0.1}
    training:
      epochs: 60
      batch_size: 128
      optimizer: {kind: adamw, learning_rate: 3e-3}
      checkpoint_every: 11 steps
    """
  }

  private func finished(_ run: String) -> Int {
    ((try? FileManager.default.subpathsOfDirectory(atPath: run)) ?? []).count { $0.hasSuffix("result.json") }
  }

  @Test("Killed at any moment and resumed, a run gives the same numbers and the same student", arguments: [1, 2])
  func killed(threads: Int) throws {
    try Sample.withTeacher { folder in
      try write(Self.recipe(threads: threads), to: "\(folder)/recipe.yaml")
      try expectSameWhenKilled(in: folder, kills: 4) { 20_000 + 40_000 * $0 }
    }
  }

  @Test("What the recipe alone forbids is refused before there is a folder")
  func refusedFirst() throws {
    try Sample.withTeacher { folder in
      let wrong = ["teacher.precompute=true", "data.augmentation=[{flip: 0.5}]"]
      let refused = try Command.run(["run", "--output", "r"] + wrong, in: folder)
      #expect(refused.code == 2 && refused.errors.contains("data.views"), "\(refused.everything)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/r"))
    }
  }

  @Test("Ctrl-C ends with 130, keeps everything, and says how to go on")
  func interrupted() throws {
    try Sample.withTeacher { folder in
      try write(Self.recipe(threads: 1), to: "\(folder)/recipe.yaml")
      let whole = try Command.run(["run", "--output", "whole"], in: folder)
      try #require(whole.code == 0)
      let running = try Command.start(["run", "--output", "broken"], in: folder)
      running.wait { hasCheckpoint("\(folder)/broken") }
      running.send(SIGINT)
      let outcome = try running.wait()
      #expect(outcome.code == 130, "\(outcome.everything)")
      #expect(outcome.errors.contains("distill resume broken"))
      let state = try Command.run(["inspect", "broken"], in: folder)
      #expect(state.output.contains("go on with: distill resume broken"))
      #expect(state.output.contains("interrupted"))
      #expect(try Command.run(["resume", "broken", "--quiet"], in: folder).code == 0)
      #expect(try numbers("\(folder)/broken") == numbers("\(folder)/whole"))
    }
  }
}
