import DistillRecipes
import Foundation
import Testing
import Torch

@Suite struct GuideTests {
  /// The first column of the table in `Guides/Recipes.md` whose head is `key`.
  static func documentedKeys() throws -> [String] {
    let lines = try Package.text("Guides/Recipes.md").split(separator: "\n")
    let start = try #require(lines.firstIndex { $0.hasPrefix("| key |") })
    return lines[start...].dropFirst(2).prefix { $0.hasPrefix("|") }.compactMap {
      $0.firstMatch(of: /`([^`]+)`/).map { String($0.1) }
    }
  }

  @Test func theTableOfKeysIsThatOfTheConfiguration() throws {
    let documented = try Self.documentedKeys()
    let known = RecipeReference.keys.map(\.path)
    #expect(Set(documented).count == documented.count, "a key stands there twice")
    #expect(Set(documented).subtracting(known) == [], "no such keys")
    #expect(Set(known).subtracting(documented) == [], "not in the table")
  }

  @Test func theDefaultsAreThoseOfTheConfiguration() throws {
    let text = try Package.text("Guides/Recipes.md")
    for key in RecipeReference.keys {
      let cell = key.default.map { "`\($0)`" } ?? ""
      let row = try #require(text.split(separator: "\n").first { $0.hasPrefix("| `\(key.path)` |") })
      let cells = row.split(separator: "|", omittingEmptySubsequences: false).map {
        $0.trimmingCharacters(in: .whitespaces)
      }
      #expect(cells[2] == cell, "\(key.path)")
    }
  }

  /// Every term stands in the table of `Guides/Terms.md` with all its options, under a link to the page about it.
  @Test func theTableOfTermsIsThatOfTheCatalog() throws {
    let text = try Package.text("Guides/Terms.md")
    let found = text.split(separator: "\n").filter { $0.hasPrefix("| [`") || $0.hasPrefix("| `") }
    let expected = RecipeReference.termKeys.map { key in
      let name = String(key.path.dropFirst("terms[].".count))
      let isTerm = !name.contains(".")
      let standard = key.default.map { "`\($0)`" } ?? ""
      return (name: name, isTerm: isTerm, rest: "| \(standard) | \(key.meaning) |")
    }
    #expect(found.count == expected.count)
    for (row, key) in zip(found, expected) {
      let head = key.isTerm ? "| [`\(key.name)`](" : "| `\(key.name)` "
      #expect(row.hasPrefix(head) && row.hasSuffix(key.rest), "\(row) should be \(head)… \(key.rest)")
    }
  }

  /// Recipes in the guides are whole: they can be copied and run.
  @Test func recipesInTheDocumentsAreValid() throws {
    var count = 0
    for document in try Package.documents() {
      for block in CodeBlock.all(in: try Package.text(document)) where block.kind == "yaml recipe" {
        #expect(throws: Never.self, "\(document)") {
          _ = try Configuration.parse(text: block.text, fileName: document)
        }
        count += 1
      }
    }
    #expect(count >= 3)
  }

  @Test func linksLeadSomewhere() throws {
    var count = 0
    for document in try Package.documents() {
      let folder = FilePath.folder(of: document)
      let text = try Package.text(document)
      for link in Self.links(in: text) where !link.contains("://") && !link.hasPrefix("mailto:") {
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let target = parts[0].isEmpty ? document : folder == "." ? parts[0] : "\(folder)/\(parts[0])"
        let exists = FileManager.default.fileExists(atPath: "\(Package.root)/\(target)")
        #expect(exists, "\(document) links to \(link)")
        if exists, parts.count == 2 {
          let headings = Self.anchors(in: try Package.text(target))
          #expect(headings.contains(parts[1]), "\(document) links to \(link), and there is no such heading")
        }
        count += 1
      }
    }
    #expect(count >= 15)
  }

  /// The targets of links and pictures outside code.
  static func links(in document: String) -> [String] {
    var isCode = false
    let prose = document.split(separator: "\n").filter { line in
      if line.hasPrefix("```") { isCode.toggle() }
      return !isCode
    }.joined(separator: "\n")
    let inline = prose.matches(of: /\]\(([^)\s]+)\)/).map { String($0.1) }
    let pictures = prose.matches(of: /(?:src|srcset|href)="([^"]+)"/).map { String($0.1) }
    return inline + pictures
  }

  /// The anchors of a document's headings, as they are made on GitHub.
  static func anchors(in document: String) -> Set<String> {
    Set(
      document.split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
        let title = line.drop { $0 == "#" }.trimmingCharacters(in: .whitespaces).lowercased()
        return String(title.filter { $0.isLetter || $0.isNumber || "-_ ".contains($0) }.map { $0 == " " ? "-" : $0 })
      })
  }

  @Test func linksAreFound() {
    let text = "A [word](Guides/Files.md#metrics) and ![a picture](a.png).\n```\n[no](link.md)\n```\n"
    #expect(Self.links(in: text) == ["Guides/Files.md#metrics", "a.png"])
    #expect(Self.anchors(in: "# One of `two`, or more\n## What?") == ["one-of-two-or-more", "what"])
  }
}
