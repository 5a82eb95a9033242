import TorchNN

extension ResNet: KnownElsewhere {
  public var headKeys: [String] { ["fc"] }

  /// Hugging Face's keys; those of torchvision and timm are our own.
  public var keyTables: [KeyTable] {
    var pairs = [
      (ours: "conv1", foreign: "resnet.embedder.embedder.convolution"),
      (ours: "bn1", foreign: "resnet.embedder.embedder.normalization"), (ours: "fc", foreign: "classifier.1"),
    ]
    for (stage, layers) in [layer1, layer2, layer3, layer4].enumerated() {
      for (index, block) in layers.layers.enumerated() {
        let (ours, theirs) = ("layer\(stage + 1).\(index)", "resnet.encoder.stages.\(stage).layers.\(index)")
        for number in 0..<(block is Bottleneck ? 3 : 2) {
          pairs.append((ours: "\(ours).conv\(number + 1)", foreign: "\(theirs).layer.\(number).convolution"))
          pairs.append((ours: "\(ours).bn\(number + 1)", foreign: "\(theirs).layer.\(number).normalization"))
        }
        pairs.append((ours: "\(ours).downsample.0", foreign: "\(theirs).shortcut.convolution"))
        pairs.append((ours: "\(ours).downsample.1", foreign: "\(theirs).shortcut.normalization"))
      }
    }
    return [KeyTable("Hugging Face's ResNet", pairs)]
  }
}
