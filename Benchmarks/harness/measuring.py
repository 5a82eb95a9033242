"""Runs programs in turn and collects what they print."""

import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

from harness.catalog import root

cold_starts = 20


def say(text=""):
    print(text, file=sys.stderr, flush=True)


class Failure(Exception):
    """A program that did not do its work."""


def measure(program):
    """What a program printed."""
    started = time.monotonic()
    if program.command[0] == "--cold-start":
        measured = start_again_and_again(program.command[1:])
    else:
        # What torch.compile made once is found again.
        surroundings = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(root / "data/benchmark/inductor")}
        done = subprocess.run(program.command, cwd=root, env=surroundings, capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or not lines:
            end = "\n".join(done.stderr.splitlines()[-15:])
            raise Failure(f"{program.name} failed ({' '.join(program.command)}):\n{end}")
        measured = json.loads(lines[-1])
    for kind in ["without_gradient_ns", "with_gradient_ns"]:
        if kind in measured:
            measured[f"add_{kind}"] = measured[kind]["add"]
            measured[f"mean_{kind}"] = statistics.geometric_mean(measured[kind].values())
    say(f"    {program.name:44} {time.monotonic() - started:5.0f} s in all")
    return measured


def start_again_and_again(command):
    """Seconds from starting a process to its end: the very first, and the median of some."""
    seconds = []
    for _ in range(cold_starts):
        started = time.perf_counter()
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds), "first_seconds": seconds[0], "starts": cold_starts}


def rounds(name, programs, count, threads):
    """A group's programs, each as often as there are rounds, in turn and in both orders."""
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"warning: other programs were at work here (load {load:.1f}); the numbers will say less")
    measured = []
    for number in range(count):
        say(f"==> {name}, round {number + 1} of {count}")
        order = programs if number % 2 == 0 else programs[::-1]
        found = {}
        for program in order:
            try:
                found[program.name] = measure(program)
            except Failure as failure:
                if not program.may_fail:
                    raise
                say(f"left out: {failure}")
                programs = [one for one in programs if one is not program]
        measured.append(found)
    measured = [{program.name: found[program.name] for program in programs} for found in measured]
    versions = {}
    for one in measured[0].values():
        versions |= one.get("versions", {})
    return {"rounds": measured, "conditions": conditions(threads, load) | {"versions": versions}}


def conditions(threads, load):
    return {
        "threads": threads, "machine": machine(), "load_before": round(load, 2), "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }


def machine():
    """What this machine is, as far as it can be told without other programs."""
    name, memory = platform.processor() or platform.machine(), None
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        pass
    return {"processor": name, "cores": os.cpu_count(), "memory_bytes": memory, "system": platform.system(),
            "architecture": platform.machine()}


def commit():
    """The commit, and `-dirty` where sources are not as it has them; what is written here does not count."""
    done = subprocess.run(
        ["git", "describe", "--always", "--exclude=*"], cwd=root, capture_output=True, text=True)
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", "Sources", "Benchmarks/Sources", "Benchmarks/peers"], cwd=root)
    return f"{done.stdout.strip()}-dirty" if changed.returncode else done.stdout.strip() or None
