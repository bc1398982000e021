#!/usr/bin/env python3
"""Runs Redis' own test suite against a cluster and compares the outcome with what is expected.

    tests/compat/redis/run.py                     all units, against a demo cluster of its own
    tests/compat/redis/run.py unit/multi unit/geo these units
    tests/compat/redis/run.py --port 63791 ...    against a gateway that runs already
    tests/compat/redis/run.py --write             records which tests fail, keeping the reasons that are known

Each unit is a process of the suite in external-server mode, with databases flushed in between. `expected.tsv` names the
tests that do not pass: unit, test, reason. The run fails if a test fails that is not named there, or if one passes that is.
The suite itself is fetched by `fetch.sh`.
"""

import argparse
import collections
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPECTED = HERE / "expected.tsv"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

UNITS = """
unit/type/string unit/type/incr unit/type/list unit/type/list-3 unit/type/set unit/type/zset unit/type/hash
unit/type/stream unit/type/stream-cgroups unit/sort unit/expire unit/keyspace unit/scan unit/multi unit/pubsub
unit/bitops unit/bitfield unit/geo unit/hyperloglog unit/scripting unit/functions unit/dump unit/other unit/quit
unit/protocol unit/introspection unit/introspection-2 unit/info-command unit/slowlog unit/pause unit/tracking
""".split()

# What no server but Redis itself has.
WITHOUT_TAGS = ["needs:debug", "needs:repl", "needs:config-maxmemory", "needs:pfdebug", "needs:save",
                "needs:latency", "large-memory", "slow"]

# A test that has not ended by then hangs, seconds; and a unit with all its tests.
TEST_TIMEOUT = 60
UNIT_TIMEOUT = 600


def run_unit(suite, port, unit, skipped):
    """Output of one unit, and the test that hung, if one did."""
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port), "--single", unit,
               "--durable", "--no-latency", "--ignore-encoding", "--ignore-digest", "--dont-clean",
               "--timeout", str(TEST_TIMEOUT), "--tags", " ".join("-" + tag for tag in WITHOUT_TAGS)]
    for name in skipped:
        command += ["--skiptest", name]
    process = subprocess.Popen(command, cwd=suite, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    deadline = time.monotonic() + UNIT_TIMEOUT
    output = b""
    while time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 1)
        if readable:
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                break
            output += part
    try:
        # Its own session only: the suite leaves helpers behind.
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    text = COLOURS.sub("", output.decode("utf-8", "replace")).replace("\r\n", "\n")
    hung = re.search(r"=> \(IN PROGRESS\) (.*)", text)
    return text, hung.group(1) if hung else None


def outcomes(text):
    """Test name and whether it passed, in order; a name that comes again gets a number."""
    seen = collections.Counter()
    for line in text.split("\n"):
        passed = re.match(r"\[ok\]: (.*) \(\d+ ms\)$", line)
        failed = re.match(r"\[err\]: (.*) in tests/\S+\.tcl$", line)
        if passed or failed:
            name = (passed or failed).group(1)
            seen[name] += 1
            yield (name if seen[name] == 1 else f"{name} #{seen[name]}"), bool(passed)


def score(suite, port, unit):
    """Tests of a unit, each with whether it passed."""
    results, skipped = {}, []
    while True:
        text, hung = run_unit(suite, port, unit, skipped)
        results.update(outcomes(text))
        for line in text.split("\n"):
            if line.startswith("[exception]"):
                print(f"    {line}")
        if hung is None or hung in skipped or len(skipped) == 8:
            return results
        results[hung] = False
        skipped.append(hung)


def read_expected():
    expected = collections.defaultdict(dict)
    if EXPECTED.exists():
        for line in EXPECTED.read_text().splitlines():
            if line and not line.startswith("#"):
                unit, name, reason = line.split("\t")
                expected[unit][name] = reason
    return expected


def write_expected(expected):
    lines = ["# Tests of Redis' own suite that do not pass: unit, test, reason. Written by run.py --write."]
    for unit in sorted(expected):
        lines += [f"{unit}\t{name}\t{reason}" for name, reason in sorted(expected[unit].items())]
    EXPECTED.write_text("\n".join(lines) + "\n")


class Demo:
    """A demo cluster on free ports."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix="elastickv-suite-")
        log = Path(self.folder.name) / "log"
        command = [program, "--base-port", "0", "--data-dir", str(Path(self.folder.name) / "data")]
        self.process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        self.ports = []
        while not self.ports:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the demo does not start:\n{log.read_text()}")
            line = re.search(r"^\s*Redis\s+(.*)$", log.read_text(), re.MULTILINE)
            self.ports = re.findall(r":(\d+)", line.group(1)) if line else []
            time.sleep(0.1)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.folder.cleanup()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", nargs="*", default=UNITS)
    parser.add_argument("--port", type=int, help="of a gateway that runs already")
    parser.add_argument("--demo", default="target/release/elastickv-demo", help="the demo's program")
    parser.add_argument("--suite", help="folder of the suite")
    parser.add_argument("--spread", action="store_true", help="units over all gateways of the demo, not the first only")
    parser.add_argument("--write", action="store_true", help="record which tests fail")
    options = parser.parse_args()

    fetch = [str(HERE / "fetch.sh")] + ([options.suite] if options.suite else [])
    suite = subprocess.run(fetch, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    demo = None if options.port else Demo(options.demo)
    ports = [str(options.port)] if options.port else demo.ports
    expected, surprises, totals = read_expected(), [], collections.Counter()
    try:
        for index, unit in enumerate(options.units):
            port = ports[index % len(ports)] if options.spread else ports[0]
            began = time.monotonic()
            results = score(suite, port, unit)
            failed = {name for name, passed in results.items() if not passed}
            print(f"{unit:28} {len(results) - len(failed):4} passed {len(failed):4} failed "
                  f"{time.monotonic() - began:6.0f} s", flush=True)
            totals.update(passed=len(results) - len(failed), failed=len(failed))
            known = expected[unit]
            surprises += [f"{unit}\t{name}\tfails" for name in sorted(failed - known.keys())]
            # What hung or broke off is missing in the results: then nothing is known of it.
            surprises += [f"{unit}\t{name}\tpasses now" for name in sorted(known.keys() & (results.keys() - failed))]
            if not results:
                surprises.append(f"{unit}\t\tdid not run")
            if options.write:
                kept = {name: known.get(name, "not looked into") for name in failed}
                expected[unit] = kept
    finally:
        if demo:
            demo.stop()
    print(f"{totals['passed']} passed, {totals['failed']} failed")
    if options.write:
        write_expected(expected)
    elif surprises:
        sys.exit("not as expected:\n" + "\n".join(surprises))


if __name__ == "__main__":
    main()
