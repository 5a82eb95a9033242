"""Makes a data set of what Debian's packages are for: the synopsis of each, and the section that it is in.

Reads what `apt-cache dumpavail` says from standard input, and writes train.csv, validation.csv, test.csv and facts.json into
a folder. The same input gives the same files, byte for byte.

- One package stands for each source package, so that siblings (a library, its headers, its documentation), whose synopses
  are nearly the same, never sit on both sides of a split.
- The section is the plain name: contrib/games and non-free/games are games. Of equal synopses one is kept.
- Classes are the sections with the most packages; of a larger one as many packages are taken as of the others. Left out are
  sections that say what form a package has and not what it is about.
- What is chosen and which split it is in follows from the SHA-256 of the source package's name.
"""

import collections
import csv
import hashlib
import io
import json
import pathlib
import re
import sys

classes, most, least = 16, 750, 300
forms = {"debug", "introspection", "libdevel", "localization", "metapackages", "oldlibs", "tasks", "translations"}
field = re.compile(r"^([A-Za-z0-9-]+): *(.*)$", re.MULTILINE)


def packages(text):
    """Source package, section, synopsis and name of each package."""
    for stanza in text.split("\n\n"):
        facts = dict(field.findall(stanza))
        if facts.get("Section") and facts.get("Description", "").strip():
            source = facts.get("Source", facts["Package"]).split()[0]
            yield source, facts["Section"].split("/")[-1], " ".join(facts["Description"].split()), facts["Package"]


def order(name):
    return hashlib.sha256(name.encode()).hexdigest()


def chosen(text):
    """Section -> its packages (source, synopsis), in an order that has nothing to do with what they are."""
    of_source = {}
    for source, section, synopsis, package in packages(text):
        if section not in forms:
            of_source.setdefault(source, []).append((order(package), section, synopsis))
    found, seen = collections.defaultdict(list), set()
    for source in sorted(of_source, key=order):
        _, section, synopsis = min(of_source[source])
        if synopsis.lower() not in seen:
            seen.add(synopsis.lower())
            found[section].append((source, synopsis))
    largest = sorted((name for name in found if len(found[name]) >= least), key=lambda name: (-len(found[name]), name))
    return {name: found[name][:most] for name in sorted(largest[:classes])}


def part(source):
    """In which split a source package is: of each ten one to choose by and two to test on."""
    place = int(order("split " + source)[:8], 16) % 10
    return "validation" if place == 0 else "test" if place < 3 else "train"


def table(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["text", "label", "source"])
    writer.writerows(rows)
    return text.getvalue()


def main(folder):
    data = sys.stdin.buffer.read()
    sections = chosen(data.decode(errors="replace"))
    if len(sections) < 2:
        sys.exit("error: apt-cache knows of too few packages: run 'apt-get update' first")
    splits = collections.defaultdict(list)
    for section, found in sections.items():
        for source, synopsis in found:
            splits[part(source)].append((synopsis, section, source))
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"input": hashlib.sha256(data).hexdigest(), "files": {}, "classes": {}}
    for name in ("train", "validation", "test"):
        text = table(sorted(splits[name], key=lambda row: order(row[2])))
        (folder / f"{name}.csv").write_text(text)
        facts["files"][f"{name}.csv"] = {"texts": len(splits[name]), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for section in sections:
            counts = facts["classes"].setdefault(section, {})
            counts[name] = sum(row[1] == section for row in splits[name])
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    for name, found in facts["files"].items():
        print(f"{name}: {found['texts']} texts, SHA-256 {found['sha256']}", file=sys.stderr)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
