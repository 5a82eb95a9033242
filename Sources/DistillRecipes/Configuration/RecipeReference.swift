import DistillData
import DistillModels
import Distillation
import TorchNN

/// Every key of a recipe in two tables: what it means, and what holds without it.
public enum RecipeReference {
  public struct Key: Sendable, Equatable {
    /// Such as `training.optimizer.momentum`; `[]` stands for the items of a list.
    public var path: String
    /// As a recipe would write it; nil for a key that must be given or has no default.
    public var `default`: String?
    public var meaning: String

    /// The last part of the path.
    public var name: String { path.split(separator: ".").last.map(String.init) ?? path }

    init(_ path: String, _ default: String?, _ meaning: String) {
      self.path = path
      self.default = `default`
      self.meaning = meaning
    }
  }

  /// What `data.dataset` may be.
  public static var datasets: [String] { DatasetCatalog.entries.map(\.name) }

  /// What the folder of one's own data must hold; nil for a data set that is found without a path.
  static func layoutOfOwnFiles(_ dataset: String) -> String? {
    DatasetCatalog.entry(dataset).flatMap { $0.origin == .own ? $0.layout : nil }
  }

  /// What `architecture` may be.
  public static var architectures: [String] { ModelZoo.architectures.map(\.name) }

  static var architectureHint: String { "one of \(architectures.joined(separator: ", "))" }

  /// The path in the table for a place in a recipe: `terms[]` for `terms[0]`, `training` for `teacher.training`.
  static func path(of place: String) -> String {
    let general = place.replacing(/\[[0-9]+\]/, with: "[]")
      .replacing(/^terms\[\]\.[a-z_]+\.(weight|start|end|teacher)$/) { "terms[].*.\($0.1)" }
    for other in ["teacher.training.", "teacher.specialists.training.", "alone."] where general.hasPrefix(other) {
      let path = "training." + general.dropFirst(other.count)
      if keys.contains(where: { $0.path == path }) { return path }
    }
    return general
  }

  public static let keys: [Key] = [
    Key("name", nil, "a word for the run; without it the file's name"),
    Key("description", nil, "what it is for"),
    Key("seeds", "[1, 2, 3]", "one comparison for each; their spread gives the interval"),
    Key("seed", nil, "a single one, instead of seeds"),
    Key("device", "cpu", "cpu, cuda, cuda:1 or mps"),
    Key("threads", "null", "processor threads of each job; null leaves the choice to the program"),
    Key("parallel", "1", "jobs that run at the same time"),
    Key("output", "null", "the run folder; null for runs/ and the name"),
    Key("compare", "true", "also train the same student alone, on the same budget"),
    Key("data.dataset", nil, "a name from the catalog; idx, csv, folder, text or labelled-text for your own files"),
    Key("data.path", nil, "the folder, or the file of texts; the catalog's own where there is one"),
    Key("data.image_size", nil, "of folder: the side in pixels of the square that pictures are brought to"),
    Key("data.shorter_side", nil, "of folder: what the shorter side is brought to before the middle is cut out"),
    Key("data.interpolation", nil, "of folder: area, bilinear or bicubic (as Pillow has them); without it area"),
    Key("data.channels", nil, "of folder: 1 for grey, 3 for colour"),
    Key("data.label_column", nil, "the column with the class: of csv the last one without it, of others label"),
    Key("data.text_column", "text", "of labelled-text: the column with the text"),
    Key("data.pair_column", nil, "of labelled-text: the column with a second text, where pairs are classified"),
    Key(
      "data.tokenizer", nil, "of labelled-text: a folder with a tokenizer; without it the teacher's or the student's"),
    Key("data.unit", "bytes", "of text: what a token is: bytes or characters"),
    Key("data.length", "128", "of text and labelled-text: how many tokens an example has"),
    Key(
      "data.test_fraction", "0.1",
      "the part for testing: of text its end; of labelled-text and folder, where no files are for it"),
    Key("data.validation", "0.1", "held out of the training examples to choose by: a fraction or a number"),
    Key("data.labels", "1", "the part of the training labels that may be seen"),
    Key("data.transfer", "all", "the examples the student is distilled on: all, or only the labelled ones"),
    Key("data.fraction", "1", "the part of the training examples that either student sees, of each class"),
    Key("data.fractions", "{}", "the part of single classes, such as {cat: 0.1}; of the others that of data.fraction"),
    Key("data.leave_out", "[]", "classes of which neither student sees an example"),
    Key("data.also", "[]", "other examples that the student is distilled on"),
    Key("data.also[].dataset", nil, "a name from the catalog, whose training examples these are"),
    Key("data.also[].path", nil, "its folder; without dataset a folder of pictures, or a CSV file"),
    Key("data.also[].label_column", nil, "the column with the class; left out where labels are unused"),
    Key("data.also[].labels", "unused", "unused, or by_name: labels count where the data has a class of that name"),
    Key("data.also[].examples", nil, "how many of them, drawn at random; without it all"),
    Key("data.munge", "null", "rows made up of pairs of near ones, for the teacher to label; for tables"),
    Key("data.munge.factor", "10", "how many rows are made of each"),
    Key("data.munge.swap_probability", "0.5", "how often the two rows of a pair change places in a column"),
    Key("data.munge.local_variance", "5", "the difference of a pair, divided by this, is new values' deviation"),
    Key("data.munge.nominal", "[]", "columns whose numbers stand for names: their names, or numbers from 1"),
    Key("data.teacher_view", "same", "what the teacher sees: same as the student, plain, or other (drawn anew)"),
    Key(
      "data.teacher_text", "null",
      "of text: the teacher writes on after the beginnings of the examples, and that is shown"),
    Key("data.teacher_text.prompt", "16", "how many tokens of each are kept"),
    Key("data.teacher_text.beam", "5", "the likeliest of so many texts that are written at once"),
    Key("data.teacher_text.temperature", nil, "tokens are drawn instead, at this temperature"),
    Key("data.teacher_text.top_k", nil, "they are drawn from so many of the likeliest"),
    Key("data.teacher_text.top_p", nil, "they are drawn from the likeliest that have this probability together"),
    Key("data.normalize", "true", "true: measured; false; or {mean: [...], standard_deviation: [...]}"),
    Key("data.augmentation", "[]", "changes to training examples: flip, crop, shift, cutout, mixup, cutmix"),
    Key("data.augmentation[].flip", nil, "left to right, with this probability"),
    Key("data.augmentation[].crop", nil, "padded by so many pixels and cropped back at random"),
    Key("data.augmentation[].shift", nil, "moved by up to so many pixels, or {pixels, fill}"),
    Key("data.augmentation[].shift.fill", "zero", "what comes in: zero (black) or edge (the outermost row)"),
    Key("data.augmentation[].cutout", nil, "a square of so many pixels is blanked; or {size, probability}"),
    Key("data.augmentation[].cutout.probability", "1", "the part of the examples in which one is"),
    Key("data.augmentation[].mixup", nil, "two examples are mixed; α of the Beta distribution"),
    Key("data.augmentation[].cutmix", nil, "a rectangle of another example; α of the Beta distribution"),
    Key("data.views", "null", "so many fixed augmented views of each example, labelled once; null: always new ones"),
    Key("teacher.model", nil, "architecture and options; not needed where weights is a model folder"),
    Key("teacher.model.architecture", nil, "the family of models; its options stand beside it"),
    Key("teacher.weights", nil, "a file of weights, a model folder, or a model as a whole (TorchScript, .pt2, .onnx)"),
    Key("teacher.trusted", "false", "of a TorchScript program or package: whether its code may be executed"),
    Key("teacher.output", "logits", "of a model as a whole: its output with the logits, by name or place from 0"),
    Key("teacher.probabilities", "false", "of a model as a whole: whether that output holds probabilities"),
    Key(
      "teacher.classes", nil,
      "of one that knows others too: by_name, {class: its name in config.json}, or as teacher.members[].classes"),
    Key("teacher.members", nil, "an ensemble, instead of model and weights"),
    Key("teacher.members[].model", nil, "as teacher.model"),
    Key("teacher.members[].weights", nil, "as teacher.weights"),
    Key("teacher.members[].trusted", "false", "as teacher.trusted"),
    Key("teacher.members[].output", "logits", "as teacher.output"),
    Key("teacher.members[].probabilities", "false", "as teacher.probabilities"),
    Key("teacher.members[].weight", "1", "how much the member counts"),
    Key("teacher.members[].name", nil, "by which terms choose it; without it that of its stage, or its number"),
    Key(
      "teacher.members[].classes", nil,
      "the class of each of its outputs, where it does not know just the data's; null: none"),
    Key("teacher.weighting", "fixed", "how members count: fixed, score or confidence, or with {power} or {sharpness}"),
    Key("teacher.weighting.score", nil, "by accuracy on the validation examples, raised to a power"),
    Key("teacher.weighting.score.power", "1", "0 makes all alike; the larger, the more the best counts"),
    Key("teacher.weighting.confidence", nil, "for each example by how sure the member is of it"),
    Key("teacher.weighting.confidence.sharpness", "1", "0 makes all alike; the larger, the more the surest counts"),
    Key("teacher.specialists", nil, "models made of the teacher, each for some classes that it takes for each other"),
    Key("teacher.specialists.count", "2", "how many; their classes are found from what the teacher says"),
    Key("teacher.specialists.classes", nil, "the classes of each, instead of count: [[cat, dog], [car, truck]]"),
    Key("teacher.specialists.share", "0.5", "the part of a specialist's examples that is of its own classes"),
    Key("teacher.specialists.candidates", "1", "how many of the teacher's likeliest classes decide who is asked"),
    Key("teacher.specialists.training", nil, "how each is trained; the keys of training, begins as teacher.training"),
    Key("teacher.noise", nil, "noise on the logits of some examples, drawn anew in each step"),
    Key("teacher.noise.kind", "relative", "in proportion to the logit (relative), or whatever it is (additive)"),
    Key("teacher.noise.standard_deviation", "0.1", "of the noise"),
    Key("teacher.noise.share", "0.5", "the probability that an example's logits get noise"),
    Key("teacher.mean", nil, "the mean of the student's own past teaches, instead of a model"),
    Key("teacher.mean.decay", "0.999", "how much of the mean stays at each step"),
    Key("teacher.mean.result", "student", "which of the two is validated, kept and tested: student or mean"),
    Key("teacher.peers", nil, "students that are trained together with it and teach each other, instead of a model"),
    Key("teacher.peers[].name", nil, "by which terms choose it; without it 'peer 1' and so on"),
    Key("teacher.peers[].model", nil, "as student.model; without it the student's"),
    Key("teacher.peers[].weights", nil, "weights to start from"),
    Key("teacher.peers[].terms", nil, "what it learns, instead of the recipe's terms"),
    Key("teacher.average", "arithmetic", "of an ensemble: arithmetic, geometric or logits"),
    Key("teacher.precompute", "auto", "compute the teacher's outputs once and keep them: auto, true or false"),
    Key(
      "teacher.precision", "auto",
      "what the teacher is computed in while it teaches: float32, bfloat16, int8 (on cpu), or auto: the fastest that says "
        + "the same"),
    Key("teacher.cache", nil, "a folder of 'distill label': what is kept there teaches, and no model is needed"),
    Key("teacher.training", nil, "how the teacher is made if its weights do not exist; the keys of training"),
    Key("student.model", nil, "architecture and options"),
    Key("student.model.architecture", nil, "the family of models; its options stand beside it"),
    Key("student.weights", nil, "weights to start from"),
    Key(
      "student.copy", nil, "layers that start as the teacher's: paths, {student, teacher}, or {map, student, teacher}"),
    Key("student.copy[].student", nil, "a path in the student; with map, {} stands for the number of a layer"),
    Key("student.copy[].teacher", nil, "the same in the teacher"),
    Key("student.copy[].map", nil, "which layer starts as which: 'every 2', uniform, 'last 2', or pairs '0:2, 3:11'"),
    Key("student.prune", nil, "start as the teacher's largest channels, by l1, l2 or batch_norm_scale"),
    Key("student.classifier", "own", "own, or the teacher's behind a projector (SimKD), never trained"),
    Key("student.reduction", "2", "of classifier: teacher: the projector's middle has so many times fewer channels"),
    Key("terms", nil, "what the student learns; without it soft_targets and hard_labels"),
    Key("terms[].*.weight", nil, "of any term: a number, or {from, to, over}; instead of alpha"),
    Key("terms[].*.start", "0", "of any term: when it begins to count: an epoch, or '500 steps'"),
    Key("terms[].*.end", nil, "of any term: when it no longer counts: an epoch, or '500 steps'"),
    Key("terms[].*.teacher", nil, "of any term: the member of the teacher that it learns from; without it all of them"),
    Key("alpha", "0.9", "α · teacher's term + (1 − α) · hard labels, instead of weights"),
    Key("training.epochs", "20", "how long"),
    Key("training.steps", nil, "how long, instead of epochs"),
    Key("training.batch_size", "128", "examples in a batch"),
    Key("training.accumulation", "1", "batches that make one step"),
    Key(
      "training.precision", "auto",
      "float32, bfloat16, (on cuda) float16, or auto: chosen by timing when the run begins; small models: float32"),
    Key("training.channels_last", "auto", "memory order of images: true, false, or auto: chosen by timing"),
    Key("training.optimizer.kind", "sgd", "sgd, adam or adamw; with it, what is not given is PyTorch's default"),
    Key("training.optimizer.learning_rate", "0.1", "the highest, where a schedule changes it"),
    Key("training.optimizer.momentum", "0.9", "of sgd"),
    Key("training.optimizer.dampening", "0", "of sgd"),
    Key("training.optimizer.nesterov", "true", "of sgd"),
    Key("training.optimizer.betas", nil, "of adam and adamw"),
    Key("training.optimizer.epsilon", nil, "of adam and adamw"),
    Key("training.optimizer.amsgrad", nil, "of adam and adamw"),
    Key("training.optimizer.weight_decay", "0.0005", "added to the gradient; with adamw taken from the weights"),
    Key("training.schedule.kind", "cosine", "constant, step, multi_step, cosine or one_cycle"),
    Key("training.schedule.warmup", "0", "the part of the steps in which the rate climbs first"),
    Key("training.schedule.warmup_from", "0.1", "the fraction of the rate that the climb begins with"),
    Key("training.schedule.minimum", "0", "of cosine: the last rate, as a fraction of the highest"),
    Key("training.schedule.every", nil, "of step: epochs from one drop to the next"),
    Key("training.schedule.milestones", nil, "of multi_step: the epochs in which the rate drops"),
    Key("training.schedule.gamma", nil, "of step and multi_step: what the rate is multiplied with"),
    Key("training.schedule.climb", nil, "of one_cycle: the part of the steps in which the rate climbs"),
    Key("training.schedule.divisor", nil, "of one_cycle: the first rate is the highest divided by this"),
    Key("training.schedule.final_divisor", nil, "of one_cycle: the last rate is the first divided by this"),
    Key("training.clip_norm", "null", "the largest norm of all gradients together"),
    Key("training.keep", "best", "best by the metric on the validation examples, or last"),
    Key("training.metric", "accuracy", "what best means: accuracy or loss"),
    Key(
      "training.correct_bias", "none",
      "shifts the biases of classes that were left out: by the labels of the validation examples, or by the prior "
        + "that the teacher's predictions on them give"
    ),
    Key(
      "training.on_policy", "null", "of text: in a part of the steps the student learns on text that it writes itself"),
    Key("training.on_policy.rate", "0.5", "the part of the steps"),
    Key("training.on_policy.prompt", "16", "how many tokens of each example are kept"),
    Key("training.on_policy.start", "0", "when it begins to write: an epoch, or '500 steps'"),
    Key("training.on_policy.temperature", "1", "at which it draws its tokens"),
    Key("training.early_stop", "null", "epochs without improvement after which it ends"),
    Key("training.checkpoint_every", "epoch", "epoch, or a number of steps such as '500 steps'"),
    Key("alone", nil, "what is different when the student is trained alone; the keys of training but for the budget"),
    Key("alone.label_smoothing", nil, "of a training on labels: alone, or teacher.training"),
    Key("alone.augmentation", nil, "of a training on labels, where it is not the data's"),
    Key("training.only", nil, "the parts of the student that are trained, by their paths; without it all"),
    Key("training.freeze", nil, "the parts that are not trained, by their paths"),
    Key("stages", nil, "what is done one after the other; each says what is different in it"),
    Key("stages[].name", nil, "by which other stages name it; without it 'stage 1' and so on"),
    Key("stages[].from", nil, "the stage whose student goes on, or start; without it the one before with that student"),
    Key("stages[].data", nil, "what is different of the transfer set: labels, leave_out, also, augmentation and so on"),
    Key("stages[].teacher", nil, "who teaches in it: {stage: name} for the student of an earlier one, or as teacher"),
    Key("stages[].student", nil, "another student than the recipe's, such as an assistant; as student"),
    Key("stages[].terms", nil, "what is learnt in it, instead of the recipe's terms"),
    Key("stages[].alpha", nil, "as alpha"),
    Key("stages[].training", nil, "what is different of the training; the keys of training"),
    Key("teacher.stage", nil, "in a stage: the earlier stage whose student teaches"),
    Key("teacher.members[].stage", nil, "in a stage: the earlier stage whose student is the member"),
    Key("settings", nil, "named variants, each with its own comparison"),
    Key("settings[].name", nil, "the variant's name in the tables"),
    Key("settings[].set", nil, "what it changes, such as {data.labels: 0.03}"),
  ]

  /// The terms and the options that each has of its own.
  public static let termKeys: [Key] = TermCatalog.kinds.flatMap { kind in
    [Key("terms[].\(kind.name)", nil, kind.meaning)]
      + kind.options.map { option in
        var meaning = option.meaning
        if case .choice = option.form { meaning += ": \(option.allowed)" }
        return Key("terms[].\(kind.name).\(option.name)", option.default?.node.flow, meaning)
      }
  }

  /// All that can be said below a term: its own options, and those of every term.
  public static func options(of kind: TermKind) -> [Key] {
    termKeys.filter { $0.path.hasPrefix("terms[].\(kind.name).") } + keys.filter { $0.path.hasPrefix("terms[].*.") }
  }

  /// A term as a recipe writes it, with its defaults and made-up layers.
  public static func example(of kind: TermKind) -> String {
    let options = kind.options.compactMap { option in
      let made: TermValue? =
        switch option.form {
        case .layers where option.isRequired: .layers([LayerPair(student: Tap("layer2"), teacher: Tap("layer3"))])
        case .taps where option.isRequired: .taps([Tap("layer2")])
        default: option.default
        }
      return made.map { RecipeNode.Entry(key: option.name, keyLocation: nil, value: $0.node) }
    }
    return options.isEmpty ? kind.name : "\(kind.name): \(RecipeNode(.map(options)).flow)"
  }
}
