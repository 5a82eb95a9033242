import ArgumentParser
import DistillRecipes
import Foundation

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Say what a model sees in pictures.",
    discussion: """
      Pictures are PNG or JPEG files of any size; they are brought to the size and the colours that the model knows. A file \
      that cannot be read is named, and the others are still looked at; the exit code is then 2.

        distill predict runs/digits photo.png
        distill predict Models/mine photos/*.jpg --top 1 --json
        distill predict runs/digits --examples 1,5,7
        distill predict Models/mine --dataset fashion-mnist --examples 0,1,2
      """)

  @Argument(help: "A model folder, or a run folder.", completion: .directory)
  var model: String

  @Argument(help: "Pictures, PNG or JPEG.", completion: .file(extensions: ["png", "jpg", "jpeg"]))
  var images: [String] = []

  @OptionGroup var data: DataOptions

  @Option(
    parsing: .unconditional,
    help: "Instead of pictures: examples of the data set, by number, with commas between them.")
  var examples: String?

  @Option(parsing: .unconditional, help: "How many classes are named, the most probable first.")
  var top = 3

  @OptionGroup var device: DeviceOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    guard images.isEmpty != (examples == nil) else {
      throw RunError(
        images.isEmpty
          ? "name pictures, or examples of a data set: --examples 1,5,7"
          : "name pictures or --examples, not both")
    }
    let result =
      try examples.map {
        try ModelPrediction(
          model: model, on: data.choice, examples: NumberList.integers($0, option: "--examples"), top: top,
          device: device.device)
      } ?? ModelPrediction(model: model, pictures: images, top: top, device: device.device)
    if output.json { try output.printJSON(result) } else { show(result, output.results) }
    guard result.problems.isEmpty else {
      for problem in result.problems { Failure.say("error: \(problem)") }
      throw ExitCode(2)
    }
  }

  private func show(_ result: ModelPrediction, _ terminal: Terminal) {
    let width = result.items.map { TextWidth.of(Terminal.plain($0.source)) }.max() ?? 0
    for item in result.items where item.problem == nil {
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
