import ArgumentParser
import DistillRecipes
import Foundation

struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Write weights that PyTorch saved as a safetensors file.",
    discussion: """
      Reads files of torch.save (.pth, .pt, .bin) without executing anything in them: only tensors are taken, and a file \
      that asks for more is refused by the name of what it asks for. Models in several files are read by their index, or by \
      the folder in which they lie.

        distill convert resnet18.pth
        distill convert checkpoint.pt --part ema -o model.safetensors
        distill convert lightning.ckpt --remove-prefix model.
        distill convert pytorch_model.bin.index.json --type bfloat16

      A recipe can name such a file as it is: teacher: {weights: resnet18.pth, model: ...}
      """)

  @Argument(help: "A file of weights, an index of several, or the folder in which they lie.", completion: .file())
  var input: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "The file to write; without it beside the input, called .safetensors.",
    completion: .file(extensions: ["safetensors"]))
  var destination: String?

  @Option(
    help: ArgumentHelp(
      "Which dictionary of the file holds the weights, where there are several: its key, such as model or ema.",
      valueName: "key"))
  var part: String?

  @Option(
    help: ArgumentHelp(
      "What to take away from the beginning of each name, such as 'model.'; tensors without it are left out.",
      valueName: "text"))
  var removePrefix: String?

  @Option(help: "What numbers become: float32, float16 or bfloat16; without it what they are.")
  var type: Labelling.NumberType?

  @Flag(help: "Replace a file that is there.") var force = false

  @OptionGroup var talk: OutputOptions

  func run() throws {
    var options = Conversion.Options()
    options.part = part
    options.prefix = removePrefix
    options.type = type
    options.force = force
    let printer = RunPrinter(isQuiet: talk.quiet || talk.json)
    Interruption.listen()
    let result: Conversion.Result
    do {
      result = try Conversion.convert(input, to: destination ?? Conversion.output(for: input), options: options) {
        printer.note($0)
      }
      printer.end()
    } catch {
      printer.end()
      throw error
    }
    if talk.json {
      try talk.printJSON(result)
      return
    }
    let terminal = talk.results
    terminal.sentences(
      "\(Terminal.plain(result.output)): \(result.tensors == 1 ? "1 tensor" : "\(result.tensors) tensors"), \(Quantity.integer(result.elements)) numbers, "
        + Quantity.bytes(result.bytes))
    if let first = result.leftOut.first {
      let others = result.leftOut.count == 1 ? "" : " and \(result.leftOut.count - 1) more"
      terminal.sentences("Left out: \(Terminal.plain(first))\(others)")
    }
  }
}
