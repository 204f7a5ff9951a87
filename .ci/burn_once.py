"""Are Burn's crates compiled once for running and for testing?

usage: burn_once.py RUN TEST

Both files hold cargo's `--message-format=json` output, one of the run command and one of building the tests. Cargo names
each library that a build uses, compiled now or found, with a hash over its features, profile and dependencies. Burn's
libraries in TEST must be among those of RUN. (That cargo prints no "Compiling burn-…" isn't enough: with a target folder
that outlives one run, both builds' libraries may lie there already.)
"""

import json
import pathlib
import sys

FAMILIES = ("burn", "cubecl", "cubek")


def libraries(path):
    found = {}
    for line in pathlib.Path(path).read_text().splitlines():
        # `cargo run` mixes in what the program prints.
        if not line.startswith('{"reason":"compiler-artifact"'):
            continue
        artifact = json.loads(line)
        name = artifact["target"]["name"]
        if name.replace("_", "-").split("-")[0] in FAMILIES and "custom-build" not in artifact["target"]["kind"]:
            for file in artifact["filenames"]:
                found[pathlib.Path(file).name] = (name, artifact["features"])
    return found


run, test = map(libraries, sys.argv[1:])
if not run or not test:
    sys.exit(f"burn_once: no library of Burn in {'RUN' if not run else 'TEST'}: is it cargo's JSON output?")
again = {file: test[file] for file in test.keys() - run.keys()}
if again:
    print("burn_once: the tests need these libraries in another form than the run command:")
    features = {}
    for name, on in run.values():
        features.setdefault(name, set()).update(on)
    for file, (name, on) in sorted(again.items()):
        more = sorted(set(on) - features.get(name, set()))
        print(f"  {name} ({file})" + (f": also with the features {', '.join(more)}" if more else ""))
    sys.exit("burn_once: look for a dev-dependency that turns on a feature somewhere below Burn")
print(f"burn_once: {len(test)} libraries of Burn, the same ones for running and for testing")
