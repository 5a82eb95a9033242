"""Makes rows of measurements, and RESULTS.md and the README's paragraph of the rows."""

import json
import statistics

from harness import plot
from harness.catalog import groups, root, rows, teachers

results_path = root / "Benchmarks/results.json"
remarks_path = root / "Benchmarks/remarks.json"
document_path = root / "Benchmarks/RESULTS.md"
plot_path = root / "Benchmarks/results.svg"
readme_path = root / "README.md"
opening, closing = "<!-- speed: written by Benchmarks/run -->\n", "<!-- end of speed -->"

units = {
    "s": lambda x: f"{x:.2f} s", "ms": lambda x: f"{x * 1e3:.2f} ms", "MB": lambda x: f"{x / 2**20:.0f} MB",
    "ns": lambda x: f"{x:.0f} ns",
}


def digits(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def derive(measured):
    """The rows whose programs were measured, with ratios: theirs divided by ours."""
    found = []
    for row in rows():
        rounds = next(
            (group["rounds"] for group in measured.values()
             if all(name in group["rounds"][0] for name in row.ours + row.theirs)), None)
        if rounds is None:
            continue

        def best(names, key):
            """The numbers of the program with the best median, and its name."""
            name = min(names, key=lambda name: statistics.median(one[name][key] for one in rounds))
            return [one[name][key] for one in rounds], name

        ours, ours_name = best(row.ours, row.key)
        entry = {
            "id": row.id, "work": row.work, "against": row.against, "unit": row.unit, "program": ours_name,
            "ours": statistics.median(ours), "ours_range": [min(ours), max(ours)], "goal": row.goal,
        }
        if row.theirs:
            theirs, entry["their_program"] = best(row.theirs, row.their_key or row.key)
            ratios = [other / own for own, other in zip(ours, theirs)]
            entry |= {
                "theirs": statistics.median(theirs), "theirs_range": [min(theirs), max(theirs)],
                "ratio": statistics.median(theirs) / statistics.median(ours), "ratio_range": [min(ratios), max(ratios)],
                "at_least": row.at_least,
            }
            if row.at_least is not None:
                entry["goal"] = row.goal or f"{row.at_least:g}×"
                entry["met"] = entry["ratio"] >= row.at_least
        else:
            entry |= {"limit": row.limit, "met": entry["ours"] < row.limit}
        found.append(entry)
    return found


def save(results):
    results["rows"] = derive(results["groups"])
    replace(results_path, json.dumps(results, indent=1) + "\n")


def replace(path, text):
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    temporary.replace(path)


def load():
    return json.loads(results_path.read_text())


def table(head, lines, right=()):
    """A table in Markdown."""
    rule = ["---:" if name in right else "---" for name in head]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, rule, *lines])


def shown_ratio(row):
    if "ratio" not in row:
        return ""
    low, high = row["ratio_range"]
    if row["id"].startswith("mlp-products"):  # how much of it, not how many times better
        return f"{1 / row['ratio']:.2f}× of it ({1 / high:.2f}–{1 / low:.2f})"
    return f"{digits(row['ratio'])}× ({digits(low)}–{digits(high)})"


def shown_verdict(row):
    if row.get("met") is None:
        return ""
    if row["met"]:
        return "met"
    short = 1 - row["ratio"] / row["at_least"] if "ratio" in row else row["ours"] / row["limit"] - 1
    return f"**no**, by {100 * short:.0f} %"


def cells(row):
    show = units[row["unit"]]
    return [row["work"], row["against"], show(row["ours"]), show(row["theirs"]) if "theirs" in row else "",
            shown_ratio(row)]


head = ["work", "against", "ours", "theirs", "ratio (range)"]
right = ["ours", "theirs", "ratio (range)"]


def shown_conditions(conditions):
    machine = conditions["machine"]
    memory = f", {machine['memory_bytes'] / 2**30:.0f} GiB" if machine.get("memory_bytes") else ""
    names = {"python": "Python", "torch": "PyTorch"}
    versions = ", ".join(f"{names.get(name, name)} {version}" for name, version in sorted(conditions["versions"].items()))
    load = conditions["load_before"]
    return (f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']} {machine['architecture']}; "
            f"{conditions['threads']} threads" + (f"; {versions}" if versions else "")
            + f"; commit {conditions['commit']}, {conditions['date']}"
            + (f"; other programs were at work (load {load:.1f})" if load > 0.5 else ""))


def document(results):
    """RESULTS.md."""
    found = results["rows"]
    asked, others = [r for r in found if "met" in r], [r for r in found if "met" not in r]
    remarks = json.loads(remarks_path.read_text())
    text = [
        "# How fast it is\n",
        "`make bench` measures, and `Benchmarks/run` writes this page from `Benchmarks/results.json`; see there for "
        "every single number. Programs are started several times, in turn and in both orders; numbers are medians. A "
        "ratio is theirs divided by ours, in brackets the smallest and the largest of the rounds' own ratios. Of "
        "several settings of a program (worker processes, threads) the best counts.\n",
        "\n".join(f"- {names}: {text}" for names, text in shared_conditions(results["groups"])) + "\n",
        "## What it has to reach\n",
        table(head + ["goal", "reached"], [cells(r) + [r["goal"], shown_verdict(r)] for r in asked], right),
        "![The ratios, with the goals as marks](results.svg)\n",
    ]
    short = [row for row in asked if not row["met"]]
    if short:
        text.append("## Where it falls short\n")
        text += [f"- **{row['work']}** against {row['against'] or 'the limit'}: {shown_ratio(row) or cells(row)[2]} "
                 f"instead of {row['goal']}. {remarks.get(row['id'], 'Not explained yet.')}\n" for row in short]
    if others:
        text += ["## Against the peers' other settings\n",
                 "Each peer at the best that its documentation and its extension points allow, and what else is worth "
                 "knowing.\n", table(head, [cells(r) for r in others], right)]
    text += more_numbers(results["groups"])
    if "scaling" in results:
        text += growth(results["scaling"])
    text += ["## That all do the same\n", remarks["method"] + "\n", agreement(results["groups"])]
    return "\n".join(text)


def shared_conditions(measured):
    """What holds for which groups, groups of the same conditions together."""
    lines = {}
    for name, group in measured.items():
        conditions = group["conditions"] | {"rounds": len(group["rounds"])}
        lines.setdefault(f"{conditions['rounds']} rounds; {shown_conditions(conditions)}", []).append(name)
    return [(", ".join(names), text) for text, names in lines.items()]


def more_numbers(measured):
    """What stands behind rows: rates of this machine, the time to precompute, the first start."""
    def middle(group, program, key):
        values = [one[program][key] for one in measured.get(group, {"rounds": []})["rounds"] if key in one[program]]
        return statistics.median(values) if values else None

    lines = []
    if "mlp" in measured:
        name = "MLP: products"
        lines += [
            f"- Products of two 2048 × 2048 matrices: {middle('mlp', name, 'gflops_float32'):.0f} GFLOP/s in float32, "
            f"{middle('mlp', name, 'gflops_bfloat16'):.0f} in bfloat16. A step of the MLP student multiplies "
            f"{middle('mlp', name, 'step_flops') / 1e6:.0f} MFLOP: {middle('mlp', name, 'seconds_at_rate') * 1e3:.2f} ms "
            f"at this rate, {middle('mlp', name, 'seconds_at_own_shapes') * 1e3:.2f} ms at its own shapes.",
            "- The teacher's logits of an epoch took "
            f"{middle('mlp', 'MLP: ours, precomputed', 'precompute_seconds'):.2f} s to compute, once for all epochs; "
            "they are not in the epoch's time, neither in ours nor in the peers'."]
    if "start" in measured:
        lines.append(f"- The very first start of `distill --help` took "
                     f"{middle('start', 'distill --help', 'first_seconds') * 1e3:.0f} ms.")
    if "labelling" in measured:
        rounds = measured["labelling"]["rounds"]
        for teacher, name in teachers:
            ours = rounds[0][f"labelling {teacher}: ours"]
            lines.append(
                f"- {name} chose {ours['precision']} for labelling, {ours['divergences'][0]:.1e} nats from float32 at "
                f"temperature 1 and {ours['divergences'][1]:.1e} at 4, with the same likeliest class for "
                f"{100 * ours['agreement']:.1f} % of the images; to choose took {ours['seconds_to_choose']:.1f} s, once.")
        lines.append("- The best batch sizes for labelling: " + ", ".join(
            f"{name.removeprefix('labelling ')} {middle('labelling', name, 'batch_size'):.0f}" for name in rounds[0]) + ".")
    return ["\n".join(lines) + "\n"] if lines else []


def growth(scaling):
    text = ["## How cost grows\n",
            "Ours alone, the MLP pair with batches of 128. Memory is the most that the process had, without the pixels "
            "themselves, of which there are more where there is more data.\n"]
    text += [f"{shown_conditions(scaling['conditions'])}.\n"] if scaling["conditions"] else []
    for part in scaling["parts"]:
        first = part["sizes"][0]
        lines = []
        for size in part["sizes"]:
            per_example = size["seconds_per_example"]
            lines.append([
                size["size"], f"{size['seconds_per_epoch']:.2f} s", f"{per_example * 1e6:.1f} µs",
                f"{per_example / first['seconds_per_example']:.2f}",
                f"{size['multiply_adds'] / first['multiply_adds']:.2f}",
                f"{(size['peak_bytes'] - size['data_bytes']) / 2**20:.0f} MB",
            ])
        heads = [part["grows"], "epoch", "an example", "to the first", "multiplications, to the first", "memory"]
        text += [f"### {part['title'].capitalize()}\n", table(heads, lines, heads[1:])]
    return text


def agreement(measured):
    """The accuracy or the loss of those who did the same, held against each other."""
    work = {}
    for program in (program for group in groups(2).values() for program in group):
        rounds = next((g["rounds"] for g in measured.values() if program.name in g["rounds"][0]), None)
        if program.shows and rounds:
            values = [one[program.name][program.shows] for one in rounds]
            work.setdefault((program.name.split(":")[0], program.shows), []).append(
                (program.name, statistics.median(values)))
    lines = []
    for (_, shows), programs in work.items():
        middle = statistics.median(value for _, value in programs)
        for name, value in programs:
            # Orders differ, and so do the results of a short training: a little.
            differs = abs(value - middle) > (0.025 if shows == "accuracy" else 0.05 * middle)
            number = f"{100 * value:.2f} %" if shows == "accuracy" else f"{value:.4f}"
            lines.append([name, shows, number, "**differs**" if differs else "agrees"])
    return table(["program", "what", "reached", "with the others"], lines, ["reached"])


def readme_part(results):
    """The README's table, between its two marks."""
    asked = [row for row in results["rows"] if "met" in row]
    ours = {"MB": "of memory", "s": "", "ms": ""}
    lines = [[r["work"], r["against"], shown_ratio(r) or f"{units[r['unit']](r['ours'])} {ours[r['unit']]}".strip(),
              r["goal"]] for r in asked]
    return opening + "\n" + table(["work", "against", "theirs / ours", "goal"], lines, ["theirs / ours"]) + "\n" + closing


def with_readme_part(readme, results):
    if opening not in readme or closing not in readme:
        raise SystemExit(f"error: the README lacks the marks {opening.strip()} and {closing}")
    before, rest = readme.split(opening, 1)
    return before + readme_part(results) + rest.split(closing, 1)[1]


def files(results):
    """What is written of results: path -> text."""
    return {
        document_path: document(results),
        plot_path: plot.draw([row for row in results["rows"] if "ratio" in row]),
        readme_path: with_readme_part(readme_path.read_text(), results),
    }


def print_rows(results):
    lines = [head + ["goal", "reached"]] + [
        cells(row) + [row.get("goal") or "", shown_verdict(row).replace("*", "")] for row in results["rows"]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for index, line in enumerate(lines):
        shown = [cell.rjust(widths[i]) if head[i : i + 1] and head[i] in right else cell.ljust(widths[i])
                 for i, cell in enumerate(line)]
        print("  ".join(shown).rstrip())
        if index == 0:
            print("-" * (sum(widths) + 2 * len(widths) - 2))
