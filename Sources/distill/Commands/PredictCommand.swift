import ArgumentParser
import DistillRecipes
import DistillRuntime
import Foundation

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Say what a model sees in pictures or texts, or how it goes on with a text.",
    discussion: """
      Pictures are PNG or JPEG files of any size, or folders of them; they are brought to the size and the colours that the \
      model knows. A file that cannot be read is named, and the others are still looked at; the exit code is then 2.
      With --labels the classes are written down, in metadata.csv beside the pictures of a folder, which recipes read: so a \
      teacher labels pictures of which nobody knows the classes.

      A model that knows classes of texts reads each file as one text, by the tokenizer in its folder. \
      A model that predicts the next token of a text writes on after each file of text: with --temperature 0 the likeliest \
      token each time.

        distill predict runs/digits photo.png
        distill predict Models/mine photos/*.jpg --top 1 --json
        distill predict data/models/efficientnet-lite0 photos --labels --at-least 0.5
        distill predict runs/digits --examples 1,5,7
        distill predict Models/mine --dataset fashion-mnist --examples 0,1,2
        distill predict runs/debian-sections/windows note.txt
        distill predict runs/text beginning.txt --tokens 100 --temperature 0.8
      """)

  @Argument(help: "A model folder, or a run folder.", completion: .directory)
  var model: String

  @Argument(
    help: "Pictures, PNG or JPEG, or folders of them; or texts.",
    completion: .file(extensions: ["png", "jpg", "jpeg", "txt", "md"]))
  var images: [String] = []

  @OptionGroup var data: DataOptions

  @Option(
    parsing: .unconditional,
    help: "Instead of pictures: examples of the data set, by number, with commas between them.")
  var examples: String?

  @Option(parsing: .unconditional, help: "How many classes are named, the most probable first.")
  var top = 3

  @Option(
    parsing: .unconditional, help: "Of texts: how many tokens are written; without it half of what the model looks at.")
  var tokens: Int?

  @Option(parsing: .unconditional, help: "Of texts: at which temperature tokens are drawn; 0: the likeliest each time.")
  var temperature = 0.0

  @Option(parsing: .unconditional, help: "Of texts: the seed of what is drawn.")
  var seed = 0

  @Flag(help: "Of a folder of pictures: write their classes into metadata.csv there, for recipes to read.")
  var labels = false

  @Option(
    parsing: .unconditional,
    help: "Of --labels: leave out pictures whose class is less probable, such as 0.5; without it none.")
  var atLeast: Double?

  @Flag(help: "Of --labels: replace metadata.csv where it is there.")
  var force = false

  @OptionGroup var device: DeviceOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    guard images.isEmpty != (examples == nil) else {
      throw RunError(
        images.isEmpty
          ? "name pictures, or examples of a data set: --examples 1,5,7"
          : "name pictures or --examples, not both")
    }
    try checkLabels()
    defer { output.endProgress() }
    let result =
      try examples.map {
        try ModelPrediction(
          model: model, on: data.choice, examples: NumberList.integers($0, option: "--examples"), top: top,
          device: device.device)
      }
      ?? looking()
    output.endProgress()
    if output.json { try output.printJSON(result) } else { show(result, output.results) }
    guard result.problems.isEmpty else {
      for problem in result.problems { Failure.say("error: \(problem)") }
      throw ExitCode(2)
    }
  }

  private func checkLabels() throws {
    if !labels, let lost = atLeast != nil ? "--at-least" : force ? "--force" : nil {
      throw RunError("\(lost) is a part of --labels: give that, too")
    }
    guard labels, examples != nil else { return }
    throw RunError("--labels is for a folder of pictures, and a data set has its classes")
  }

  /// What the model says of files.
  private func looking() throws -> ModelPrediction {
    let reading = try ModelPrediction.reading(model)
    if labels, reading != .pictures {
      throw RunError("--labels is for models that know pictures, and \(model) does not")
    }
    switch reading {
    case .pictures: return try lookingAtPictures()
    case .texts: return try ModelPrediction(model: model, classifying: images, top: top, device: device.device)
    case .beginnings:
      return try ModelPrediction(
        model: model, texts: images, length: tokens, temperature: temperature, seed: seed, device: device.device)
    }
  }

  private func lookingAtPictures() throws -> ModelPrediction {
    if let atLeast, !(0...1).contains(atLeast) {
      throw RunError("--at-least is a probability from 0 to 1, not \(atLeast)")
    }
    let file = labels ? try ModelPrediction.labelFile(for: images, force: force) : nil
    Interruption.listen()
    var found = try ModelPrediction(
      model: model, pictures: images, top: top, device: device.device, observer: output.progress())
    if let file { try found.writeLabels(to: file, atLeast: atLeast ?? 0, force: force) }
    return found
  }

  private func show(_ result: ModelPrediction, _ terminal: Terminal) {
    if let labels = result.labels {
      let others = labels.leftOut > 0 ? ", \(Quantity.integer(labels.leftOut)) left out as not sure enough" : ""
      terminal.sentences(
        "The classes of \(Quantity.integer(labels.written)) pictures are in \(Terminal.plain(labels.path))\(others).")
      return
    }
    let width = result.items.map { TextWidth.of(Terminal.plain($0.source)) }.max() ?? 0
    for item in result.items where item.problem == nil {
      if let text = item.continuation {
        terminal.line(terminal.styled(Terminal.plain(item.source), .bold))
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
          terminal.line(Terminal.plain(String(line)))
        }
        continue
      }
      let guesses = item.top.map { "\(Terminal.plain($0.name)) \(Quantity.percent($0.probability, decimals: 1))" }
      let best = guesses.first.map { terminal.styled($0, .bold) } ?? ""
      let others = guesses.dropFirst().isEmpty ? "" : ", " + guesses.dropFirst().joined(separator: ", ")
      let truth = item.label.map { label in
        let isRight = item.top.first?.name == label
        let text = isRight ? "right" : "it is \(Terminal.plain(label))"
        return "  (\(terminal.styled(text, isRight ? .green : .red)))"
      }
      terminal.line(
        Paragraph.padded(Terminal.plain(item.source), to: width) + "  "
          + Paragraph.hanging("\(best)\(others)\(truth ?? "")", indent: width + 2, in: terminal))
    }
  }
}
