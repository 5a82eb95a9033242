import Foundation
import Testing

/// Teacher caches, with the binary.
@Suite("label", .serialized)
struct LabelCommandTests {
  private func files(_ cache: String) throws -> [String: Data] {
    try contents(of: cache).filter { $0.key.hasSuffix(".safetensors") || $0.key == "cache.json" }
  }

  /// The tensors of each shard: its head says how long the teacher took.
  private func data(_ cache: String) throws -> [String: Data] {
    try files(cache).mapValues { file in
      guard file.count > 8 else { return file }
      let length = file.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
      return length < file.count ? file.dropFirst(8 + length) : file
    }
  }

  @Test("A cache teaches as the teacher does, whose weights are then not needed")
  func teaches() throws {
    try Sample.withTeacher { folder in
      let made = try Command.run(["label", "--json", "--output", "cache"], in: folder)
      try #require(made.code == 0, "\(made.everything)")
      let result = try made.object()
      #expect(result["top_one_agreement"] as? Double == 1)
      #expect((result["divergences"] as? [[String: Any]])?.allSatisfy { ($0["mean"] as? Double) == 0 } ?? false)
      // Its own labelling, in memory.
      #expect(try Command.run(["run", "--quiet", "--output", "own", "seeds=[1]"], in: folder).code == 0)
      let cached = ["--quiet", "seeds=[1]", "teacher={cache: cache}"]
      let with = try Command.run(["run", "--output", "cached"] + cached, in: folder)
      try #require(with.code == 0, "\(with.everything)")
      try FileManager.default.removeItem(atPath: "\(folder)/teacher")
      let without = try Command.run(["run", "--output", "alone"] + cached, in: folder)
      try #require(without.code == 0, "\(without.everything)")
      func students(_ run: String) throws -> [Data] {
        try contents(of: "\(folder)/\(run)/student").filter { $0.key == "model.safetensors" }.map(\.value)
      }
      #expect(try students("cached") == students("alone") && students("cached") == students("own"))
      // To check it, too.
      let check = try Command.run(["check", "--output", "x"] + cached.dropFirst(), in: folder)
      #expect(check.code == 0 && check.output.contains("it fits the recipe"), "\(check.everything)")
    }
  }

  @Test("Two processes share the work; killed and started again, nothing that was done is done again")
  func shared() throws {
    try Sample.withTeacher { folder in
      let label = ["label", "--json", "--shard-size", "20", "--output"]
      let whole = try Command.run(label + ["whole"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      let shards = try #require(try whole.object()["shards"] as? Int)
      let first = try Command.start(label + ["shared"], in: folder)
      let second = try Command.start(label + ["shared"], in: folder)
      let outcomes = try [first.wait(), second.wait()]
      #expect(outcomes.allSatisfy { $0.code == 0 }, "\(outcomes)")
      #expect(try outcomes.map { try $0.object()["made_shards"] as? Int ?? 0 }.reduce(0, +) == shards)
      #expect(try data("\(folder)/shared") == data("\(folder)/whole"))

      let killed = try Command.start(label + ["broken"], in: folder)
      killed.wait(every: 500) {
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/broken")) ?? [])
          .count { $0.hasPrefix("shard-") } >= 2
      }
      killed.send(SIGKILL)
      _ = try killed.wait()
      let before = try files("\(folder)/broken")
      let again = try Command.run(label + ["broken"], in: folder)
      #expect(again.code == 0, "\(again.everything)")
      #expect(try again.object()["made_shards"] as? Int == shards - before.keys.count { $0.hasPrefix("shard-") })
      let after = try files("\(folder)/broken")
      for (name, data) in before { #expect(after[name] == data, "\(name)") }
      #expect(try data("\(folder)/broken") == data("\(folder)/whole"))
    }
  }

  @Test("What does not fit is refused with what differs, and damage is found")
  func refused() throws {
    try Sample.withTeacher { folder in
      try #require(try Command.run(["label", "--quiet", "--output", "cache"], in: folder).code == 0)
      let good = try Command.run(["label", "--check", "cache"], in: folder)
      #expect(good.code == 0 && good.output.contains("All checksums are right"), "\(good.everything)")
      let other = try Command.run(["run", "teacher.cache=cache", "data.normalize=false", "--output", "x"], in: folder)
      #expect(other.code == 2 && other.errors.contains("normalization"), "\(other.everything)")
      let split = try Command.run(["label", "data.validation=0.3", "--output", "cache"], in: folder)
      #expect(split.code == 2 && split.errors.contains("examples"), "\(split.everything)")
      let views = try Command.run(
        ["run", "teacher.cache=cache", "data.augmentation=[{shift: 1}]", "--output", "x"], in: folder)
      #expect(views.code == 2 && views.errors.contains("data.views"), "\(views.everything)")
      let none = try Command.run(["run", "teacher={cache: nowhere}", "--output", "x"], in: folder)
      #expect(none.code == 2 && none.errors.contains("distill label"), "\(none.everything)")
      let shard = "\(folder)/cache/shard-00000.safetensors"
      var bytes = try read(shard)
      bytes[bytes.count - 5] ^= 1
      try write(bytes, to: shard)
      let damaged = try Command.run(["label", "--check", "cache"], in: folder)
      #expect(damaged.code == 2 && damaged.errors.contains("shard-00000"), "\(damaged.everything)")
      let run = try Command.run(["run", "teacher={cache: cache}", "--output", "y"], in: folder)
      #expect(run.code == 2 && run.errors.contains("shard-00000"), "\(run.everything)")
      // Before anything was done.
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/y/run.json"))
    }
  }

  @Test(
    "Whatever is kept of logits and layers teaches the terms that it is for",
    arguments: [
      ("--type float16", "[soft_targets, logit_matching]", 28.0),
      ("--type bfloat16", "[soft_targets]", 28),
      (
        "--logits top-k --count 4", "[{soft_targets: {temperature: 4}}, {top_k_soft_targets: {k: 4, temperature: 4}}]",
        28
      ),
      ("--logits sampled --count 6", "[{sampled_soft_targets: {temperature: 4, samples: 6}}, hard_labels]", 32),
      ("--feature-type int8", "[soft_targets, {hints: {layers: [{student: hidden.0, teacher: hidden.0}]}}]", 116),
    ])
  func encodings(options: String, terms: String, bytes: Double) throws {
    try Sample.withTeacher { folder in
      let made = try Command.run(
        ["label", "--json", "--output", "cache", "terms=\(terms)"] + options.split(separator: " ").map(String.init),
        in: folder)
      try #require(made.code == 0, "\(made.everything)")
      let result = try made.object()
      #expect(result["bytes_per_example"] as? Double == bytes, "\(made.output)")
      let run = try Command.run(
        ["run", "--quiet", "--output", "run", "terms=\(terms)", "seeds=[1]", "teacher={cache: cache}"], in: folder)
      #expect(run.code == 0, "\(run.everything)")
    }
  }

  @Test("What terms want and was not kept is told before the run begins")
  func missing() throws {
    try Sample.withTeacher { folder in
      for options in [["--logits", "top-k", "--count", "3"], ["--logits", "sampled", "--count", "3"]] {
        let made = try Command.run(["label", "--quiet", "--output", options[1]] + options, in: folder)
        try #require(made.code == 0, "\(made.everything)")
        // When it is made, too, and when it is checked.
        let isDrawn = options[1] == "sampled"
        let words = "only sampled_soft_targets can learn from drawn classes"
        #expect(made.errors.contains("the recipe's terms cannot learn from it") == isDrawn, "\(made.errors)")
        let check = try Command.run(["label", "--check", options[1]], in: folder)
        #expect(check.code == (isDrawn ? 2 : 0) && check.errors.contains(words) == isDrawn, "\(check.everything)")
      }
      let layers = "terms=[{hints: {layers: [{student: hidden.0, teacher: hidden.0}]}}]"
      for (cache, terms, words) in [
        ("top-k", "terms=[{soft_targets: {temperature: 2}}]", "is known at temperature 4, and 2 is asked for"),
        ("top-k", "terms=[{top_k_soft_targets: {k: 5, temperature: 4}}]", "asks for 5 classes"),
        ("top-k", "terms=[logit_matching]", "label again with all logits"),
        ("sampled", "terms=[soft_targets]", "only sampled_soft_targets can learn from drawn classes"),
        ("top-k", layers, "does not hold the layer 'hidden.0'"),
      ] {
        let run = try Command.run(["run", "--output", "run", "teacher={cache: \(cache)}", terms], in: folder)
        #expect(run.code == 2 && run.errors.contains(words), "\(run.everything)")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/run/run.json"))
        let check = try Command.run(["check", "--output", "run", "teacher={cache: \(cache)}", terms], in: folder)
        #expect(check.code == 2 && check.everything.contains(words), "\(check.everything)")
      }
    }
  }

  @Test("A check never skips a recipe that was named, and says where there is none")
  func checkedWithoutRecipe() throws {
    try Sample.withTeacher { folder in
      let made = try Command.run(["label", "--quiet", "--output", "cache", "--shard-size", "1"], in: folder)
      try #require(made.code == 0, "\(made.everything)")
      let fits = try Command.run(["label", "--check", "cache"], in: folder)
      #expect(fits.code == 0 && fits.output.contains("and it fits recipe.yaml"), "\(fits.everything)")
      let misspelt = try Command.run(["label", "nope-typo.yaml", "--check", "cache"], in: folder)
      #expect(misspelt.code == 2 && misspelt.errors.contains("nope-typo.yaml"), "\(misspelt.everything)")
      try FileManager.default.moveItem(atPath: "\(folder)/recipe.yaml", toPath: "\(folder)/other.yaml")
      let alone = try Command.run(["label", "--check", "cache"], in: folder)
      #expect(alone.code == 0 && alone.output.contains("Only the cache itself was checked"), "\(alone.everything)")
      let changed = try Command.run(["label", "data.normalize=false", "--check", "cache"], in: folder)
      #expect(changed.code == 2 && changed.errors.contains("recipe.yaml"), "\(changed.everything)")
      let named = try Command.run(["label", "other.yaml", "--check", "cache", "--json"], in: folder)
      #expect(try named.object()["fits_recipe"] as? Bool == true, "\(named.everything)")
      let both = try Command.run(["label", "other.yaml", "--check", "cache", "--count", "3"], in: folder)
      #expect(both.code == 2 && both.errors.contains("--check makes nothing, so --count"), "\(both.everything)")
      // Interrupted, it says so, however soon that is.
      let running = try Command.start(["label", "other.yaml", "--check", "cache"], in: folder)
      running.waitUntilItSays("Loading")
      running.send(SIGINT)
      let interrupted = try running.wait()
      #expect(interrupted.code == 130, "\(interrupted.everything)")
      #expect(interrupted.errors.contains("not all of cache was checked"), "\(interrupted.everything)")
    }
  }

  @Test("A teacher that the recipe trains is to be trained first")
  func trained() throws {
    try withFolder { folder in
      let training = "teacher={model: {architecture: mlp, hidden: [8]}, training: {epochs: 1}}"
      try write(Sample.recipeWithTeacher, to: "\(folder)/recipe.yaml")
      let early = try Command.run(["label", training, "--output", "cache"], in: folder)
      #expect(early.code == 2 && early.errors.contains("distill train RECIPE"), "\(early.everything)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/cache"))
      let teacher = try Command.run(["train", "--quiet", training], in: folder)
      try #require(teacher.code == 0, "\(teacher.everything)")
      let made = try Command.run(["label", training, "--output", "cache"], in: folder)
      #expect(made.code == 0, "\(made.everything)")
    }
  }

  @Test("Where a cache cannot be is told before anything is loaded, and nothing is written")
  func place() throws {
    try Sample.withTeacher { folder in
      try write("mine", to: "\(folder)/other/notes.txt")
      try FileManager.default.createSymbolicLink(atPath: "\(folder)/link", withDestinationPath: "/nowhere/q")
      let link = "link is a link to /nowhere/q, which does not exist"
      for (arguments, words) in [
        (["label", "--output", "other"], "nothing in it is touched"), (["label", "--output", "link"], link),
        (["label", "--output", "link/x"], link), (["run", "--output", "link"], link),
      ] {
        let refused = try Command.run(arguments, in: folder)
        #expect(refused.code == 2 && refused.errors.contains(words), "\(arguments) \(refused.everything)")
        #expect(!refused.errors.contains("Loading"), "\(refused.errors)")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/other") == ["notes.txt"])
    }
  }

  @Test("The guide's first commands make a cache of the recipe of init, and learn from it")
  func guide() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Guides/Labelling.md")
    let block = try #require(try String(contentsOf: page, encoding: .utf8).firstMatch(of: /```sh\n((?s:.*?))```/)).1
    let commands = block.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    try #require(commands.map { $0[1] } == ["train", "label", "run"], "\(commands)")
    try withFolder { folder in
      try #require(try Command.run(["init"], in: folder).code == 0)
      for command in commands {
        let short =
          ["threads=1", "seeds=[1]", "training.epochs=1"]
          + (command[1] == "run" ? [] : ["teacher.training.epochs=1"])
        let outcome = try Command.run(Array(command.dropFirst()) + short, in: folder)
        try #require(outcome.code == 0, "\(command) \(outcome.everything)")
        guard command[1] == "label" else { continue }
        // It says with whom, and how to go on.
        #expect(outcome.output.contains("teacher/model.safetensors, weights "), "\(outcome.output)")
        #expect(outcome.output.replacing(/\s+/, with: " ").contains("teacher.cache=labels/digits --output runs/"))
      }
      // What arguments say themselves is not taken away.
      let both = try Command.run(
        ["run", "teacher.cache=labels/digits", "teacher.training.epochs=1", "--output", "x"], in: folder)
      #expect(both.code == 2 && both.errors.contains("are both there"), "\(both.everything)")
    }
  }

  @Test("It says with which weights it labelled, and weights that are not there are no others")
  func weights() throws {
    try withFolder { folder in
      try write(Sample.recipe, to: "\(folder)/recipe.yaml")
      try FileManager.default.createDirectory(atPath: "\(folder)/runs/sample", withIntermediateDirectories: true)
      let teacher = "\(folder)/runs/sample/teacher"
      try FileManager.default.copyItem(atPath: "\(try Sample.folder())/runs/sample/teacher", toPath: teacher)
      let made = try Command.run(["label", "--json", "--output", "cache"], in: folder)
      try #require(made.code == 0, "\(made.everything)")
      let said = try #require((try made.object()["teachers"] as? [[String: Any]])?.first)
      #expect(said["path"] as? String == "runs/sample/teacher/model.safetensors")
      #expect((said["hash"] as? String)?.count == 64)
      let typo = try Command.run(["label", "teacher.weights=/nowhere/typo", "--output", "other"], in: folder)
      #expect(typo.code == 2 && typo.errors.contains("/nowhere/typo does not exist"), "\(typo.everything)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/other"))
    }
  }

  @Test("A cache that is there is not gone on with in another way, and what has nothing to say is not listened to")
  func goingOn() throws {
    try Sample.withTeacher { folder in
      let label = ["label", "--output", "cache", "--shard-size"]
      let made = try Command.run(label + ["500"], in: folder)
      #expect(made.code == 0 && made.errors.contains("Labelling"), "\(made.everything)")
      let other = try Command.run(label + ["20"], in: folder)
      #expect(other.code == 2 && other.errors.contains("was begun with 500 rows in a shard"), "\(other.everything)")
      let again = try Command.run(label + ["500"], in: folder)
      #expect(again.code == 0 && !again.errors.contains("Labelling"), "\(again.everything)")
      let layers = try Command.run(["label", "--feature-type", "int8", "--output", "other"], in: folder)
      #expect(layers.code == 2 && layers.errors.contains("none is kept"), "\(layers.everything)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/other"))
    }
  }

  @Test("A cache of another division says that the first seed divides")
  func division() throws {
    try Sample.withTeacher { folder in
      try #require(try Command.run(["label", "--quiet", "--output", "cache"], in: folder).code == 0)
      for change in [[], ["data.normalize=false"]] {
        let other = try Command.run(
          ["check", "teacher={cache: cache}", "seeds=[7]", "--output", "x"] + change, in: folder)
        #expect(other.code == 2, "\(other.everything)")
        let words = other.everything.replacing(/\s+/, with: " ")
        #expect(words.contains("follows from the first of the seeds (here 7)"), "\(other.everything)")
      }
    }
  }

  @Test("check counts a damaged cache to the teacher")
  func damagedInCheck() throws {
    try Sample.withTeacher { folder in
      try #require(try Command.run(["label", "--quiet", "--output", "cache"], in: folder).code == 0)
      let shard = "\(folder)/cache/shard-00000.safetensors"
      var bytes = try read(shard)
      bytes[bytes.count - 5] ^= 1
      try write(bytes, to: shard)
      let check = try Command.run(["check", "teacher={cache: cache}", "--output", "x", "--json"], in: folder)
      let findings = try #require(try check.object()["findings"] as? [[String: Any]])
      let about = findings.filter { ($0["text"] as? String)?.contains("shard-00000") ?? false }
      #expect(check.code == 2 && about.map { $0["subject"] as? String } == ["teacher"], "\(check.everything)")
      #expect(!check.output.contains("it fits the recipe"), "\(check.output)")
    }
  }

  @Test("Interrupted while the teacher is asked into memory, a run does not say that this is saved")
  func interruptedInMemory() throws {
    try Sample.withTeacher { folder in
      let running = try Command.start(
        [
          "run", "teacher.precompute=true", "data.augmentation=[{shift: 1}]", "data.views=600", "--output", "run",
        ], in: folder)
      running.waitUntilItSays("Labelling")
      running.send(SIGINT)
      let said = try running.wait().errors.replacing(/\s+/, with: " ")
      #expect(said.contains("in memory, and it is asked again") && said.contains("distill resume run"), "\(said)")
      #expect(!said.contains("everything so far is saved"), "\(said)")
    }
  }

  @Test("Options that cannot be followed are told before anything is loaded, together")
  func options() throws {
    try Sample.withTeacher { folder in
      let several = try Command.run(
        ["label", "nowhere.yaml", "--logits", "top-k", "--shard-size", "0", "--ids", "x", "--output", "cache"],
        in: folder)
      #expect(several.code == 2, "\(several.everything)")
      for words in ["--logits top-k needs --count", "--shard-size is 0", "--ids says how"] {
        #expect(several.errors.contains(words), "\(several.errors)")
      }
      let ignored = try Command.run(["label", "--count", "5", "--output", "cache"], in: folder)
      #expect(ignored.code == 2 && ignored.errors.contains("--count is of --logits top-k"), "\(ignored.everything)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/cache"))
      for (arguments, words) in [
        (["--output", ""], "has an empty name"), (["--output", "recipe.yaml"], "recipe.yaml is a file"),
        (["--output", "recipe.yaml/x"], "recipe.yaml is a file"), (["--features", "hidden.0,,"], "names is empty"),
        (["--import", "teacher"], "teacher is a folder"), (["--check", ""], "holds no teacher cache"),
      ] {
        let refused = try Command.run(["label"] + arguments, in: folder)
        #expect(refused.code == 2 && refused.errors.contains(words), "\(arguments) \(refused.everything)")
      }
      let more = try Command.run(["label", "--logits", "sampled", "--count", "20", "--output", "more"], in: folder)
      #expect(more.code == 0 && more.errors.contains("takes more room than all logits"), "\(more.everything)")
      let all = try Command.run(["label", "--logits", "top-k", "--count", "50", "--output", "all"], in: folder)
      #expect(all.code == 0 && all.output.contains("the 10 likeliest classes"), "\(all.everything)")
      try write("{broken", to: "\(folder)/cache/.precision.json")
      let damaged = try Command.run(["label", "--output", "cache"], in: folder)
      #expect(damaged.code == 2 && damaged.errors.contains("cache/.precision.json"), "\(damaged.everything)")
      #expect(!damaged.errors.contains("Decoding") && !damaged.errors.contains("dataCorrupted"), "\(damaged.errors)")
    }
  }

  @Test("Logits of elsewhere teach")
  func imported() throws {
    try withFolder { folder in
      let recipe = Sample.recipeWithTeacher.replacingOccurrences(
        of: "teacher: {weights: teacher}", with: "teacher: {cache: cache}")
      try #require(recipe.contains("cache: cache"), "\(recipe)")
      try write(recipe, to: "\(folder)/recipe.yaml")
      // Of all training examples of the digits, those that are held out too.
      let rows = (0..<1_437).map { id in
        "\(id)," + (0..<10).map { $0 == id % 10 ? "0.82" : "0.02" }.joined(separator: ",")
      }
      try write(
        ("id," + (0..<10).map { "c\($0)" }.joined(separator: ",") + "\n") + rows.joined(separator: "\n"),
        to: "\(folder)/logits.csv")
      let refused = try Command.run(["label", "--import", "logits.csv"], in: folder)
      #expect(refused.code == 2 && refused.errors.contains("--probabilities"), "\(refused.everything)")
      let made = try Command.run(["label", "--import", "logits.csv", "--probabilities", "--json"], in: folder)
      try #require(made.code == 0, "\(made.everything)")
      #expect(try made.object()["unused_rows"] as? Int ?? 0 > 0)
      let run = try Command.run(["run", "--quiet", "seeds=[1]", "--output", "r"], in: folder)
      #expect(run.code == 0, "\(run.everything)")
      // Without a teacher in the recipe; and nothing is said of one.
      try write(recipe.replacingOccurrences(of: "teacher: {cache: cache}\n", with: ""), to: "\(folder)/none.yaml")
      let without = try Command.run(["label", "none.yaml", "--import", "logits.csv", "--probabilities"], in: folder)
      try #require(without.code == 0, "\(without.everything)")
      #expect(without.output.contains("logits.csv, ") && !without.output.contains("computed in"), "\(without.output)")
      #expect(!without.output.contains("KL from"), "\(without.output)")
      let taught = try Command.run(
        ["run", "none.yaml", "--quiet", "seeds=[1]", "teacher.cache=labels/case", "--output", "s"], in: folder)
      #expect(taught.code == 0, "\(taught.everything)")
      // Other contents under the same name.
      try write(
        String(decoding: try read("\(folder)/logits.csv"), as: UTF8.self).replacing("0,0.82,", with: "0,0.821,"),
        to: "\(folder)/logits.csv")
      let changed = try Command.run(["label", "none.yaml", "--import", "logits.csv", "--probabilities"], in: folder)
      #expect(changed.code == 2 && changed.errors.contains("had other contents"), "\(changed.everything)")
    }
  }
}
