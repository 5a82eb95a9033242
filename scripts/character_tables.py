#!/usr/bin/env python3
"""Writes Sources/DistillTokenizers/CharacterTables.swift: what Hugging Face's `tokenizers` thinks of every character.

Its parts are built on different versions of Unicode, so the package itself is asked about each of the 1,112,064 scalars:

    pip install tokenizers
    python3 scripts/character_tables.py
"""

import os
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, SCALARS))
CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cn Co".split())


def matched(pre_tokenizer, text=TEXT):
    """For each character of the text, whether it is in a piece that the pre-tokenizer keeps."""
    kept = bytearray(len(text))
    for _, (start, end) in pre_tokenizer.pre_tokenize_str(text):
        kept[start:end] = b"\1" * (end - start)
    return kept


def by_pattern(pattern):
    return matched(pre_tokenizers.Split(Regex(f"(?:{pattern})+"), behavior="removed", invert=True))


def one_by_one(keep):
    """The characters for which keep(character) holds."""
    return bytearray(1 if keep(chr(c)) else 0 for c in SCALARS)


def categories():
    found = [None] * len(SCALARS)
    for name in CATEGORIES:
        for place, is_in in enumerate(by_pattern(r"\p{%s}" % name)):
            if is_in:
                assert found[place] is None, hex(SCALARS[place])
                found[place] = name
    assert all(found), [hex(SCALARS[i]) for i, f in enumerate(found) if not f][:10]
    return found


def sets():
    clean = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    strip = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    accents = normalizers.StripAccents()
    whitespace = pre_tokenizers.Whitespace()
    pieces = [0] * len(SCALARS)
    for _, (start, end) in whitespace.pre_tokenize_str("".join(f"\na{chr(c)}" for c in SCALARS)):
        # Three characters for each scalar: a letter that belongs to a word, a letter alone, or two pieces.
        pieces[start // 3] += 1 if end - start == 1 else 10
    return {
        "whitespace": bytearray(1 - k for k in matched(pre_tokenizers.WhitespaceSplit())),
        "control": one_by_one(lambda c: clean.normalize_str(f"x{c}y") == "xy"),
        "punctuation": [
            len(pre_tokenizers.Punctuation("isolated").pre_tokenize_str(f"x{c}y")) == 3 for c in TEXT],
        "numeric": [
            len(pre_tokenizers.Digits(individual_digits=False).pre_tokenize_str(f"x{c}y")) == 3 for c in TEXT],
        "nonspacingMark": one_by_one(lambda c: strip.normalize_str(f"x{c}y") == "xy"),
        "combiningMark": one_by_one(lambda c: accents.normalize_str(f"x{c}y") == "xy"),
        "word": [p == 10 for p in pieces],
        "space": [p == 1 for p in pieces],
        "patternSpace": by_pattern(r"\s"),
        "patternWord": by_pattern(r"\w"),
        "patternDigit": by_pattern(r"\d"),
        "decomposes": one_by_one(lambda c: normalizers.NFD().normalize_str(c) != c),
        "isCompatible": one_by_one(lambda c: normalizers.NFKD().normalize_str(c) != c),
        "combines": one_by_one(lambda c: combining_class(ord(c)) > 0),
        "hasLowercase": one_by_one(lambda c: normalizers.Lowercase().normalize_str(c) != c),
    }


def encoded(value):
    """A number in base 32, low digits first; the last digit is one of the first 32 characters."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
    text = ""
    while value >= 32:
        text += digits[32 + value % 32]
        value //= 32
    return text + digits[value]


def runs(values):
    """A text of runs: how long each is, and what it is, as numbers."""
    text, start = "", 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[start]:
            text += encoded(place - start) + encoded(values[start])
            start = place
    return text


def with_surrogates(values, filler):
    return list(values[:0xD800]) + [filler] * 0x800 + list(values[0xD800:])


def mappings(function, skip=lambda c: False):
    """A text of what a function makes of each character that it changes: the gap to the one before, the number of
    characters, and their numbers."""
    text, last = "", 0
    for scalar in SCALARS:
        result = function(chr(scalar))
        if result != chr(scalar) and not skip(scalar):
            text += encoded(scalar - last) + encoded(len(result)) + "".join(encoded(ord(r)) for r in result)
            last = scalar
    return text


def lowercase_runs():
    """Lowercase letters at the same distance, in steps of one or two; the others as a mapping."""
    lower = normalizers.Lowercase()
    found = {c: lower.normalize_str(chr(c)) for c in SCALARS}
    found = {c: r for c, r in found.items() if r != chr(c)}
    text, last, rest = "", 0, dict(found)
    for scalar in sorted(found):
        if scalar not in rest or len(found[scalar]) != 1:
            continue
        delta = ord(found[scalar]) - scalar
        best = max((1, 2), key=lambda step: length(found, rest, scalar, delta, step))
        count = length(found, rest, scalar, delta, best)
        for i in range(count):
            del rest[scalar + i * best]
        zigzag = 2 * delta if delta >= 0 else -2 * delta - 1
        text += encoded(scalar - last) + encoded(count) + encoded(best) + encoded(zigzag)
        last = scalar
    assert list(rest) == [0x130] and rest[0x130] == "i\u0307", rest
    return text


def length(found, rest, start, delta, step):
    count = 0
    while (c := start + count * step) in rest and len(found[c]) == 1 and ord(found[c]) - c == delta:
        count += 1
    return count


def is_hangul(c):
    return 0xAC00 <= c < 0xAC00 + 11172


def combining_class(c, nfd=normalizers.NFD()):
    """That of Python, where the package orders marks by it."""
    value = unicodedata.combining(chr(c))
    if value == 0 or unicodedata.normalize("NFD", chr(c)) != chr(c):
        return 0
    if value < 240 and nfd.normalize_str("a\u0345" + chr(c)) != "a" + chr(c) + "\u0345":
        return 0
    return value


def combining_classes():
    text, last = "", 0
    for c in SCALARS:
        value = combining_class(c)
        if value > 0:
            text += encoded(c - last) + encoded(value)
            last = c
    return text


def compositions():
    nfc = normalizers.NFC()
    text, last, count = "", 0, 0
    for c in SCALARS:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) != 2 or is_hangul(c) or "<" in parts[0]:
            continue
        first, second = (int(p, 16) for p in parts)
        if nfc.normalize_str(chr(first) + chr(second)) == chr(c):
            text += encoded(c - last) + encoded(first) + encoded(second)
            last = c
            count += 1
    assert count > 900, count
    return text


def literal(name, doc, text, width=100):
    lines = [text[i:i + width] for i in range(0, len(text), width)]
    body = "\n".join(f"    {line}\\" if i + 1 < len(lines) else f"    {line}" for i, line in enumerate(lines))
    return f'  /// {doc}\n  static let {name} = """\n{body}\n    """\n'


def main():
    found, named = categories(), sets()
    kinds, legend = [], {}
    for place in range(len(SCALARS)):
        key = (found[place],) + tuple(bool(named[name][place]) for name in named)
        kinds.append(legend.setdefault(key, len(legend)))
    assert len(legend) < 256
    print(len(legend), "kinds of characters;", {name: sum(map(bool, s)) for name, s in named.items()})
    bits = [
        1 << CATEGORIES.index(key[0]) | sum(1 << 32 + i for i, is_in in enumerate(key[1:]) if is_in) for key in legend]
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    same = {c for c in SCALARS if nfd.normalize_str(chr(c)) == nfkd.normalize_str(chr(c))}
    swift = (
        "// Made by scripts/character_tables.py: change that, not this.\n\n"
        f"/// What version {tokenizers.__version__} of Hugging Face's `tokenizers` thinks of every character. Numbers are "
        "in base 32;\n/// `CharacterTables.numbers` reads them.\nenum CharacterTables {\n"
        "  /// General categories, in the order of their bits.\n"
        f"  static let categories = [\n    {', '.join(chr(34) + c + chr(34) for c in CATEGORIES[:15])},\n"
        f"    {', '.join(chr(34) + c + chr(34) for c in CATEGORIES[15:])},\n  ]\n\n"
        "  /// The bit of each set.\n"
        + "".join(f"  static let {name}: UInt64 = 1 << {32 + i}\n" for i, name in enumerate(named))
        + "\n  /// What holds of each kind of character.\n  static let legend: [UInt64] = [\n"
        + "".join(f"    0x{b:x},\n" for b in bits) + "  ]\n\n"
        + literal("kinds", "Runs of kinds: how long, and which.",
                  runs(with_surrogates(kinds, kinds[SCALARS.index(0xFDD0)]))) + "\n"
        + literal("lowercase", "Runs of letters: the gap to the run before, how many, in which steps, and how far (zigzag).",
                  lowercase_runs()) + "\n"
        + literal("canonical", "Canonical decompositions: the gap to the one before, the number of parts, the parts.",
                  mappings(nfd.normalize_str, is_hangul)) + "\n"
        + literal("compatible", "Compatibility decompositions where they differ from the canonical ones.",
                  mappings(nfkd.normalize_str, lambda c: is_hangul(c) or c in same)) + "\n"
        + literal("combining", "Combining classes: the gap to the one before, and the class.", combining_classes())
        + "\n"
        + literal("compositions", "Compositions: the gap to the one before, the first part, the second part.",
                  compositions())
        + "}\n")
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../Sources/DistillTokenizers/CharacterTables.swift")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(swift)
    print(len(swift), "characters written")


main()
