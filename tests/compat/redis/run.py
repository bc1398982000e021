#!/usr/bin/env python3
"""Redis' own test suite against gateways, compared with what is expected of it.

    run.py [--record] [--units UNIT ...] HOST:PORT [HOST:PORT ...]
    run.py --docs
    run.py --fetch

Units go to the gateways by turns, one at a time. `expected.tsv` beside this file says of each unit how many tests
pass, and which do not and why. The run fails when a test that is not listed there does not pass, or when fewer tests ran
through. Listed tests are left out, because some of them hang; `--record` runs them, too, and writes what was found into the
file, with the reasons that it had. `--docs` brings the list of failing
tests in `docs/redis.md` up to date with that file; `--fetch` only fetches the suite.

The suite is fetched by `fetch.sh` into ~/.cache/elastickv/redis-suite; nothing of it is kept here.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SUITE = pathlib.Path(os.environ.get("ELASTICKV_REDIS_SUITE", pathlib.Path.home() / ".cache/elastickv/redis-suite"))
EXPECTED = HERE / "expected.tsv"
DOCS = HERE.parents[2] / "docs/redis.md"
# The list stands between these lines of DOCS.
LIST_BEGINS, LIST_ENDS = "<!-- tests that do not pass -->", "<!-- end -->"
UNITS = """unit/type/string unit/type/incr unit/type/list unit/type/list-3 unit/type/hash unit/type/set
unit/type/zset unit/type/stream unit/type/stream-cgroups unit/keyspace unit/scan unit/expire unit/sort unit/bitops unit/bitfield
unit/hyperloglog unit/geo unit/multi unit/pubsub unit/scripting unit/functions unit/protocol unit/quit""".split()
# What a server under test must be for these is another thing than a gateway.
TAGS = "-needs:debug -needs:repl -needs:config-maxmemory -needs:pfdebug -needs:save -needs:latency -large-memory -slow"
# Without progress for so long a test hangs.
PATIENCE_S = 240
# Tests that hang are left out of another run, so often.
MOST_RUNS = 6

PASSED = re.compile(r"\[ok\]: (.*) \(\d+ ms\)$")
FAILED = re.compile(r"\[err\]: (.*) in tests/\S+\.tcl$")
HANGS = re.compile(r"\S+ => \(IN PROGRESS\) (.*)$")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def attempt(unit, address, left_out, base_port):
    """One run of a unit: (test, passed) in order, and the test that hangs."""
    host, port = address.rsplit(":", 1)
    command = ["tclsh", "tests/test_helper.tcl", "--host", host, "--port", port, "--single", unit, "--durable", "--dont-clean",
               "--no-latency", "--ignore-encoding", "--ignore-digest", "--baseport", str(base_port),
               "--timeout", str(PATIENCE_S), "--tags", TAGS]
    for test in left_out:
        command += ["--skiptest", test]
    process = subprocess.Popen(command, cwd=SUITE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output = process.communicate(timeout=1800)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output = process.communicate()[0]
    results, hangs, seen = [], None, collections.Counter()
    for line in COLOURS.sub("", output.decode("utf-8", "replace")).splitlines():
        if "The following tests failed" in line:
            break
        found = PASSED.match(line) or FAILED.match(line)
        if found:
            name = found.group(1)
            seen[name] += 1
            results.append((name if seen[name] == 1 else f"{name} #{seen[name]}", line.startswith("[ok]")))
        elif HANGS.match(line):
            hangs = HANGS.match(line).group(1)
    if not results and hangs is None:
        raise SystemExit(f"{unit} did not run:\n" + output.decode("utf-8", "replace")[-2000:])
    return results, hangs


def run_unit(unit, address, base_port, left_out=()):
    """Test -> whether it passes."""
    subprocess.run(["redis-cli", "-u", f"redis://{address}", "FLUSHALL"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["redis-cli", "-u", f"redis://{address}", "FUNCTION", "FLUSH"], check=True, stdout=subprocess.DEVNULL)
    results, left_out = {}, list(left_out)
    for _ in range(MOST_RUNS):
        found, hangs = attempt(unit, address, left_out, base_port)
        for test, passed in found:
            results[test] = results.get(test, False) or passed
        if hangs is None or hangs in left_out:
            break
        results[hangs] = False
        left_out.append(hangs)
    return results


def read_expected():
    """Unit -> (tests that pass, {test that does not: why})."""
    expected = {}
    if EXPECTED.exists():
        for line in EXPECTED.read_text().splitlines():
            if line and not line.startswith("#"):
                unit, test, reason = line.split("\t")
                passing, failing = expected.get(unit, (0, {}))
                if test == "*":
                    passing = int(reason)
                else:
                    failing = {**failing, test: reason}
                expected[unit] = (passing, failing)
    return expected


def write_expected(expected):
    lines = ["# unit, test that does not pass, why; behind *: how many pass. Written by run.py --record."]
    for unit in sorted(expected):
        passing, failing = expected[unit]
        lines.append(f"{unit}\t*\t{passing}")
        lines += [f"{unit}\t{test}\t{reason}" for test, reason in sorted(failing.items())]
    EXPECTED.write_text("\n".join(lines) + "\n")


def write_docs(expected):
    """A table of the reasons, each with its tests."""
    reasons = collections.defaultdict(list)
    for unit in sorted(expected):
        for test, reason in expected[unit][1].items():
            reasons[reason].append(f"{unit.removeprefix('unit/')}: {test}")
    rows = ["| why | tests |", "| --- | --- |"]
    rows += [f"| {reason} | {'; '.join(tests).replace('|', chr(92) + '|')} |" for reason, tests in sorted(reasons.items())]
    passing = sum(passing for passing, _ in expected.values())
    failing = sum(len(failing) for _, failing in expected.values())
    rows += ["", f"{passing} tests pass, {failing} do not."]
    before, rest = DOCS.read_text().split(LIST_BEGINS)
    after = rest.split(LIST_ENDS)[1]
    DOCS.write_text(before + LIST_BEGINS + "\n" + "\n".join(rows) + "\n" + LIST_ENDS + after)


def compare(unit, results, expected):
    """What is not as expected."""
    passing, failing = expected.get(unit, (0, {}))
    failed = {test for test, passed in results.items() if not passed}
    count = len(results) - len(failed)
    complaints = [f"{unit}: {test}: does not pass" for test in sorted(failed - set(failing))]
    complaints += [f"{unit}: {test}: passes by now" for test in sorted(set(failing) & set(results) - failed)]
    if count < passing:
        complaints.append(f"{unit}: {count} tests pass, not {passing}")
    return complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--units", nargs="*", default=UNITS)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("gateways", nargs="*", metavar="HOST:PORT")
    options = parser.parse_args()
    if options.docs:
        write_docs(read_expected())
        return 0
    if not (SUITE / "tests/test_helper.tcl").exists():
        subprocess.run(["sh", str(HERE / "fetch.sh"), str(SUITE)], check=True)
    if options.fetch:
        return 0
    if not options.gateways:
        parser.error("no gateway to test")
    # A unit flushes the database of the others: one at a time, each by another gateway than the one before.
    expected, complaints = read_expected(), []
    for number, unit in enumerate(options.units):
        # Of tests with one name the suite leaves out all or none.
        listed = [] if options.record else [test for test in expected.get(unit, (0, {}))[1] if " #" not in test]
        results = run_unit(unit, options.gateways[number % len(options.gateways)], random.randrange(20000, 30000), listed)
        passed = sum(results.values())
        print(f"{unit}: {passed} of {len(results)}", flush=True)
        if options.record:
            reasons = expected.get(unit, (0, {}))[1]
            failing = {test: reasons.get(test, "?") for test, passed in results.items() if not passed}
            expected[unit] = (passed, failing)
            write_expected(expected)
        else:
            complaints += compare(unit, results, expected)
    print("\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
