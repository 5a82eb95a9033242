import DistillData
import TestSupport
import Testing
import Torch
import TorchNN

/// Pictures brought to a model's size, against torchvision on Pillow (scripts/fixtures/image_preparing.py).
@Suite struct PictureFitTests {
  /// Which side is brought to its length first is another question in each version of Pillow. Where that is as here, the
  /// bytes are the same; elsewhere rounding in between may show by one level.
  @Test func picturesAreThoseOfPillow() throws {
    let fixture = try Fixture("image-preparing")
    var (compared, same) = (0, 0)
    for name in ["13x21", "24x9"] {
      let shown = try fixture["picture/\(name)"]
      let picture = try RawImage(
        width: shown.size(1), height: shown.size(0), channels: 3, pixels: shown.array(of: UInt8.self))
      for expected in fixture.tensors(under: name) {
        let parts = expected.name.split(separator: "/").map(String.init)
        let size = try #require(Int(parts[2]))
        let fit = PictureFit(
          shorterSide: Int(parts[1]), interpolation: try #require(RawImage.Interpolation(rawValue: parts[0])))
        let made = try picture.fitted(height: size, width: size, fit)
        #expect((made.height, made.width, made.channels) == (size, size, 3))
        let wanted = try expected.tensor.array(of: UInt8.self)
        let largest = zip(made.pixels, wanted).map { abs(Int($0) - Int($1)) }.max() ?? 255
        #expect(made.pixels.count == wanted.count && largest <= 1, "\(name)/\(expected.name)")
        compared += 1
        same += largest == 0 ? 1 : 0
      }
    }
    #expect(compared == 20 && same >= 16)
  }

  @Test func aPictureOfTheSizeStaysAsItIs() throws {
    let picture = try RawImage(width: 2, height: 2, channels: 1, pixels: [1, 2, 3, 4])
    for interpolation in RawImage.Interpolation.allCases {
      for shorterSide in [2, nil] {
        let made = try picture.fitted(
          height: 2, width: 2, PictureFit(shorterSide: shorterSide, interpolation: interpolation))
        #expect(made.pixels == [1, 2, 3, 4])
      }
    }
  }

  @Test func sizesBeyondReasonAreRefused() throws {
    let thin = try RawImage(width: 10_000, height: 1, channels: 1, pixels: Array(repeating: 7, count: 10_000))
    for side in [1_000_000, 0] {
      #expect(throws: DataError.self) {
        try thin.fitted(height: 8, width: 8, PictureFit(shorterSide: side, interpolation: .bicubic))
      }
    }
  }
}
