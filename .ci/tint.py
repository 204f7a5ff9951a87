#!/usr/bin/env python3
"""What a browser's compiler says of WGSL shaders: tint.py SHADER.wgsl ...

A headless Chromium with WebGPU on a software device makes a compute pipeline of each and posts the
verdicts to a server here. Exit status 1 if one is refused. (Debian's package `chromium`.)
"""

import http.server
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

FLAGS = """
    --headless=new --no-sandbox --disable-gpu-sandbox --remote-debugging-port=0
    --enable-unsafe-webgpu --ignore-gpu-blocklist --enable-features=Vulkan --use-vulkan=swiftshader
    --use-angle=swiftshader --use-webgpu-adapter=swiftshader --enable-unsafe-swiftshader
""".split()

PAGE = """<script>
const say = (what) => fetch('/', {method: 'POST', body: JSON.stringify(what)});
async function main() {
  const shaders = await (await fetch('/shaders')).json();
  const adapter = await navigator.gpu.requestAdapter();
  const buffers = {maxStorageBuffersPerShaderStage: adapter.limits.maxStorageBuffersPerShaderStage};
  const device = await adapter.requestDevice({requiredLimits: buffers});
  for (const [name, code] of shaders) {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({code});
    const found = (await module.getCompilationInfo()).messages.find((m) => m.type === 'error');
    let problem = found ? `line ${found.lineNum}: ${found.message}` : null;
    try {
      const compute = {module, entryPoint: 'main'};
      if (!problem) await device.createComputePipelineAsync({layout: 'auto', compute});
    } catch (error) { problem = error.message; }
    await device.popErrorScope();
    await say({name, problem});
  }
}
main().then(() => say({done: null}), (error) => say({done: String(error)}));
</script>"""


def main(paths):
    shaders = [(path.name, path.read_text()) for path in paths]
    over, problems, seen = threading.Event(), [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, body, kind):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self):
            if self.path == "/shaders":
                self.answer(json.dumps(shaders), "application/json")
            else:
                self.answer(PAGE, "text/html")

        def do_POST(self):
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer("", "text/plain")
            if "done" in said:
                problems.extend(filter(None, [said["done"]]))
                over.set()
                return
            seen.append(said["name"])
            if said["problem"]:
                problems.append(f"{said['name']}: {said['problem']}")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", address]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not over.wait(60 + 4 * len(shaders)):
            problems.append("the browser gave no answer in time")
        browser.terminate()
        browser.wait(20)
    print("\n".join([*problems, f"{len(seen)} of {len(shaders)} shaders compiled, {len(problems)} problems"]))
    return 1 if problems or len(seen) < len(shaders) else 0


if __name__ == "__main__":
    sys.exit(main([Path(path) for path in sys.argv[1:]]))
