/// The recipe that a new one starts from. Every key is in it, with what it means; those that are commented out show
/// their default or an example.
public enum RecipeTemplate {
  /// - Parameters:
  ///   - name: a word for the run
  ///   - dataset: a name from the catalog
  public static func text(name: String = "digits", dataset: String = "digits") -> String {
    text.replacing("name: digits\n", with: "name: \(RecipeNode.text(name).flow)\n")
      .replacing("dataset: digits\n", with: "dataset: \(RecipeNode.text(dataset).flow)\n")
  }

  private static let text = """
    # A recipe says what is distilled from what, on which data, and how.
    #
    #   distill check recipe.yaml                        what is wrong with it, before any time is spent
    #   distill run recipe.yaml                          do it
    #   distill run recipe.yaml training.epochs=40       any key can be changed on the command line
    #
    # Lines that are commented out show the default, or an example where there is none.

    name: digits
    # description: What this is for.

    # One comparison is run for each seed. A single run cannot tell a gain from luck; three or more give an interval.
    seeds: [1, 2, 3]
    # seed: 1                       # a single one, instead of seeds

    # device: cpu                   # cpu, cuda, cuda:1 (the second card) or mps
    # threads: null                 # processor threads of each job; null: as many as there are
    # parallel: 1                   # jobs that run at the same time
    # output: null                  # the run folder; null: runs/ and the name

    # The claim "distillation helped" needs the same student, trained on the labels alone, on the same budget.
    compare: true

    # ---- The examples ---------------------------------------------------------------------------------------------

    data:
      # 'distill datasets' lists the names. For your own files: idx, csv (train.csv and test.csv) or folder
      # (train/CLASS/picture.png, test/CLASS/picture.png; or metadata.csv, a list), text, or labelled-text (train.csv and
      # test.csv, or .jsonl).
      dataset: digits
      # path: data/mine             # needed for your own files
      # image_size: 32              # folder: pictures are brought to 32×32 pixels
      # shorter_side: 36            # folder: the shorter side, before the middle is cut out
      # interpolation: bicubic      # folder: area (the default), bilinear or bicubic
      # channels: 3                 # folder: 3 for colour, 1 for grey
      # label_column: class         # csv: the column with the class; without it the last one. Others: label
      # text_column: text           # labelled-text: the column with the text
      # pair_column: second         # labelled-text: the column with a second text
      # tokenizer: data/models/mine # labelled-text: a folder with a tokenizer; without it the teacher's or the student's
      # unit: bytes                 # text (a file, or a folder of .txt and .md): tokens are bytes or characters
      # length: 128                 # text, labelled-text: tokens of an example
      # test_fraction: 0.1          # text: its end, for testing; folder, labelled-text: where no files are for it

      # Held out of the training examples to choose by: a fraction, or a number of examples. The test split is looked at
      # once, at the very end.
      validation: 0.1

      # The part of the training examples whose label may be seen. The rest teaches too: the teacher labels it.
      # labels: 1.0
      # transfer: all               # what the student is distilled on: all examples, or only those labelled

      # What either student sees of the training examples, class by class, and which classes neither sees.
      # fraction: 1.0
      # fractions: {"3": 0.2}
      # leave_out: ["3"]

      # Other examples that the student is distilled on; labels: by_name where they have labels that are to be used.
      # also:
      #   - {dataset: mnist, labels: by_name, examples: 5000}
      #   - {path: data/pictures}           # a folder of pictures of any kind
      #   - {path: data/more.csv, label_column: class, labels: unused}
      # munge: {factor: 10, swap_probability: 0.5, local_variance: 5, nominal: [colour]}      # for tables

      # Of a text: the teacher goes on with the beginnings of the examples, and the student learns what it wrote.
      # teacher_text: {prompt: 16, beam: 5}
      # teacher_text: {prompt: 16, temperature: 1, top_k: 40, top_p: 0.95}      # drawn

      # normalize: true             # measured on the training examples; false; or as here, a number for each channel:
      # normalize: {mean: [0.5], standard_deviation: [0.25]}

      # Changes to training examples. Teacher and student see the very same pixels, if nothing else is said.
      # teacher_view: same          # or plain (without the changes), or other (changes of its own)
      # augmentation:
      #   - flip: 0.5               # left to right, with this probability
      #   - crop: 2                 # padded by 2 pixels on each side, cropped back at a random place
      #   - shift: 2                # moved by up to 2 pixels; {pixels: 2, fill: edge} repeats the edge, without it is black
      #   - cutout: 8               # a square of 8 pixels is blanked; {size: 8, probability: 0.5}: in half of them
      #   - mixup: 0.2              # two examples are blended; α of the Beta distribution
      #   - cutmix: 1.0             # a rectangle comes from another example; α of the Beta distribution
      # views: null                 # 4: four fixed augmented views of each example, labelled by the teacher only once

    # ---- The teacher ----------------------------------------------------------------------------------------------

    teacher:
      # 'distill recipes show' has examples of all architectures: resnet9, resnet-cifar, wide-resnet, mobilenet-v2,
      # convnet, mlp, resnet. Their options stand beside the name.
      model: {architecture: resnet9, widths: [32, 64, 128]}

      # A safetensors file, or a model folder, which also says the model.
      # weights: Models/teacher

      # Or a model as a whole, without 'model': TorchScript (.pt), a package of AOTInductor (.pt2), or ONNX (.onnx).
      # weights: teacher.onnx
      # trusted: false              # true: code in it may be executed; TorchScript and packages need that
      # output: logits              # which of its outputs: a name, or a place from 0 on
      # probabilities: false        # true: that output went through a softmax

      # One that knows more classes: those of the data are found by the names in its config.json.
      # classes: by_name            # or {cup: espresso}, where it calls a class otherwise

      # How the teacher is trained where its weights do not exist: the keys of 'training' below, and these two.
      training:
        epochs: 20
        # label_smoothing: 0.0      # helps the teacher and hurts its soft targets: leave it
        # augmentation: []          # where the teacher's differs from the data's

      # precompute: auto            # compute the outputs once and keep them: auto, true or false
      # precision: auto             # float32, bfloat16, int8 (on cpu), or auto: the fastest that says the same
      # cache: labels/digits        # what 'distill label' kept teaches, instead of a model

      # Several teachers that teach as one, instead of model and weights:
      # members:
      #   - {weights: Models/first}
      #   - {name: second, weights: Models/second, weight: 2, classes: [cat, dog, null]}
      #   - {weights: third.pt, trusted: true, output: 0, probabilities: true}
      # average: arithmetic         # of the probabilities; or geometric, or logits
      # weighting: fixed            # or score, or confidence, or one of:
      # weighting: {score: {power: 4}}
      # weighting: {confidence: {sharpness: 1}}

      # Models made of the teacher, each for some classes that it takes for each other; they teach beside it.
      # specialists: {count: 3, share: 0.5, candidates: 1, training: {epochs: 5}}
      # specialists: {classes: [[shirt, coat, pullover], [sandal, sneaker]]}

      # Noise on the logits of some examples, new in each step:
      # noise: {kind: relative, standard_deviation: 0.1, share: 0.5}

      # Instead of a model: the mean of the student's own past, or students that are trained together with it.
      # mean: {decay: 0.999, result: student}
      # peers: [{name: second, model: {architecture: mlp}, terms: [hard_labels]}]

    # ---- The student ----------------------------------------------------------------------------------------------

    student:
      model: {architecture: mlp, hidden: [16]}
      # weights: Models/start       # weights to start from
      # copy: [{student: layer1, teacher: layer1}]          # or layers of the teacher to start as
      # copy: {map: every 2, student: "layer.{}", teacher: "layer.{}"}
      # prune: l1                   # or the teacher's largest channels; or by l2, or batch_norm_scale
      # classifier: teacher         # its classifier instead of an own one, behind a projector
      # reduction: 2                # of that projector

    # What the student learns. Every term may have a weight, and an epoch, or a step, in which it starts and ends to count.
    terms:
      # The teacher's probabilities, softened: the higher the temperature, the more they say about the wrong classes.
      # A temperature or weight may change while training goes on: {from: 8, to: 2, over: linear}, or cosine;
      # or along points, from 0 (the start) to 1 (the end): {points: {0: 1, 0.5: 4, 1: 2}, over: linear}, or step.
      - soft_targets: {temperature: 4}
      # The true classes.
      - hard_labels: {label_smoothing: 0.0}
      # The teacher's logits, by squared difference.
      # - logit_matching: {zero_mean: true, weight: 1, start: 0, end: 500 steps}

    # α of the weighted average α · soft + (1 − α) · hard. Leave it out where the terms have weights of their own.
    alpha: 0.9

    # ---- How the student is trained -------------------------------------------------------------------------------

    training:
      epochs: 30
      # steps: 5000                 # instead of epochs
      batch_size: 64
      # accumulation: 1             # batches that make one step
      # precision: auto             # float32, bfloat16, or float16 on cuda; auto: large models are timed first
      # channels_last: auto         # true or false; often faster for convolutions

      # sgd, adam or adamw. With 'kind', what is not given is PyTorch's default; without it, that of this line:
      # optimizer: {kind: sgd, learning_rate: 0.1, momentum: 0.9, dampening: 0, nesterov: true, weight_decay: 5e-4}
      optimizer: {kind: adamw, learning_rate: 3e-3, betas: [0.9, 0.999], epsilon: 1e-8, amsgrad: false}

      # The learning rate over time. warmup is the part of all steps in which it first climbs.
      schedule: {kind: cosine, minimum: 0, warmup: 0.05, warmup_from: 0.1}
      # schedule: {kind: constant}
      # schedule: {kind: step, every: 10, gamma: 0.1}
      # schedule: {kind: multi_step, milestones: [15, 25], gamma: 0.1}
      # schedule: {kind: one_cycle, climb: 0.3, divisor: 25, final_divisor: 10000}

      # only: [classifier]          # the parts of the student that are trained, by their paths; without it all
      # freeze: [stem]              # those that are not; 'distill inspect' shows the paths
      # clip_norm: null             # the largest norm of all gradients together
      # keep: best                  # the best weights by the metric on the validation examples; or last
      # metric: accuracy            # or loss
      # correct_bias: none          # of classes that were left out: by labels (of validation examples), or prior (the teacher's)
      # on_policy: {rate: 0.5, prompt: 16, start: 0, temperature: 1}      # of a text: on what the student writes itself
      # early_stop: null            # epochs without improvement after which it ends
      # checkpoint_every: epoch     # or a number of steps: 500 steps

    # What is different when the student is trained alone, so that it has its best chance: any key of 'training' but
    # those of the budget, and label_smoothing and augmentation.
    # alone:
    #   optimizer: {learning_rate: 1e-3}

    # ---- Stages -------------------------------------------------------------------------------------------------

    # What is done one after the other, instead of all at once. A stage says what is different in it; its student goes on
    # with what the one before kept. See Guides/Stages.md.
    # stages:
    #   - name: assistant           # a network of middle size, by which the student is taught then
    #     student: {model: {architecture: mlp, hidden: [64]}}
    #   - name: soft targets
    #     from: start               # or the name of a stage; without it the one before with this student
    #     teacher: {stage: assistant}
    #   - name: fine-tune
    #     data: {transfer: labelled}
    #     terms: [hard_labels]
    #     training: {epochs: 5, optimizer: {learning_rate: 1e-4}}

    # ---- Variants -------------------------------------------------------------------------------------------------

    # Each is a comparison of its own with a row in the report.
    # settings:
    #   - name: all labels
    #   - name: few labels
    #     set: {data.labels: 0.03}

    """
}
