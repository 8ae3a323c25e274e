#!/usr/bin/env bash
# pytest 9.0.2: a test that Ctrl-C (SIGINT) interrupts is written to --junit-xml as a test case without a failure, an error
# or a skip, and without its name: a program that counts those counts it as passed. The suite's own count of tests does
# not have it. Whoever limits a run by SIGINT has to look at the exit status (2) as well.
#
# Output seen:
#   pytest 9.0.2: exit status 2, tests="1", 2 test cases: test_quick (passed), None (passed)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "pytest==9.0.2"
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

folder = Path(sys.argv[1])
tests = "import pathlib, time\ndef test_quick(): pass\n"
tests += "def test_waits():\n    pathlib.Path('waits').touch()\n    time.sleep(60)\n"
(folder / "test_two.py").write_text(tests)
command = [sys.executable, "-m", "pytest", "-q", "--junit-xml=report.xml", "test_two.py"]
process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while not (folder / "waits").exists():
    time.sleep(0.1)
process.send_signal(signal.SIGINT)
status = process.wait()
suite = ElementTree.parse(folder / "report.xml").find("testsuite")
cases = [(case.get("name"), "passed" if len(case) == 0 else case[0].tag) for case in suite.iter("testcase")]
told = ", ".join(f"{name} ({outcome})" for name, outcome in cases)
print(f'pytest {pytest.__version__}: exit status {status}, tests="{suite.get("tests")}", {len(cases)} test cases: {told}')
assert status == 2 and suite.get("tests") == "1"
assert cases == [("test_quick", "passed"), (None, "passed")]
PYTHON
