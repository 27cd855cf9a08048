"""Measures the demo's page in a headless browser on this machine.

    python -m mobile_demo.benchmark --model=pose.tflite --json=benchmark.json

Starts the server and Chromium, with a clip as its camera, once for each number of threads. Needs Chromium and
`pip install 'keras_pose[demo]' playwright`. Keep the machine idle meanwhile: other work affects the numbers.
"""

import contextlib
import json
import re
import statistics
import tempfile
from pathlib import Path

import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.io import atomic
from mobile_demo.browser import PHONE, camera, open_browser
from mobile_demo.browser_memory import EXPOSE_GC, growth_mb, memory_point
from mobile_demo.clip import write_clip
from mobile_demo.server import Settings, serve

FLAGS = flags.FLAGS
WARMUP = 20  # results before the measurement
TRACED = 0.1  # additional frames to trace for short tasks, relative to --frames; separate because tracing takes time
PARTS = 10  # memory is measured after each part
TIMEOUT_MS = 120_000
CLIP_SIZE, CLIP_FPS, CLIP_FRAMES = (480, 640), 30, 30
OWN_FILES = re.compile(r"\.(html|js|css|json|webmanifest|svg|png|ico)$|/$")
UNITS = {
    "latency_ms_median": "camera frame to drawn skeleton, median (ms)",
    "latency_ms_p90": "the same, 90th percentile (ms)",
    "inference_ms_median": "inference alone, of the finder and the model, median (ms)",
    "frames_per_second": "skeletons drawn per second",
    "longest_task_ms": "longest task of the page's main thread in these frames (ms)",
    "tasks_over_50_ms": "tasks of the main thread over 50 ms",
    "longest_task_cpu_ms": "largest CPU time of a task, over a tenth as many frames (ms)",
    "longest_loading_task_ms": "longest task while loading; 0 if none is over 50 ms (ms)",
    "memory_start_mb": "memory of the page and its workers at the first frame (MB)",
    "memory_end_mb": "the same at the last frame (MB)",
    "memory_peak_mb": "peak, before garbage collection (MB)",
    "memory_growth_mb": "growth after warm-up (MB per 1,000 frames)",
    "other_memory_growth_mb": "the same of the browser's other processes (MB per 1,000 frames)",
    "page_kb": "page without model and runtime, as sent (kB)",
    "page_unpacked_kb": "the same, uncompressed (kB)",
}
# Chromium reports only tasks over 50 ms; its trace has the shorter ones.
WATCH_TASKS = """() => {
    globalThis.longTasks = [];
    const note = (list) => globalThis.longTasks.push(...list.getEntries().map((entry) => entry.duration));
    new PerformanceObserver(note).observe({type: "longtask", buffered: true});
}"""
TAKE_TASKS = "() => globalThis.longTasks.splice(0)"
# Collects results inside the page, so that no message to this process delays them.
COLLECT = """([count, timeout]) => new Promise((resolve, reject) => {
    const found = {latency_ms: [], inference_ms: []};
    const start = performance.now();
    const late = setTimeout(() => reject(new Error(`${found.latency_ms.length} of ${count} results`)), timeout);
    globalThis.addEventListener("pose", function listen() {
        const {latency_ms, inference_ms} = globalThis.poseDemo.latest;
        found.latency_ms.push(latency_ms);
        found.inference_ms.push(inference_ms);
        if (found.latency_ms.length < count) return;
        globalThis.removeEventListener("pose", listen);
        clearTimeout(late);
        resolve({...found, seconds: (performance.now() - start) / 1000});
    });
})"""


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", None, "Exported .tflite file. Default: the one the demo serves.", flag_values=values)
    flags.DEFINE_multi_integer("threads", [1, 2], "Threads for inference. Repeat for several.", 1, flag_values=values)
    flags.DEFINE_integer("frames", 1000, "Number of results to measure.", 1, flag_values=values)
    flags.DEFINE_string("json", None, "File to write the numbers to.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        clip = write_clip(Path(folder) / "moving.y4m", moving_pattern(), CLIP_FPS)
        for threads in FLAGS.threads:
            rows[threads] = measure(FLAGS.model, clip, threads, FLAGS.frames)
            print_row(threads, rows[threads])
    if FLAGS.json:
        atomic.write_json(FLAGS.json, {"frames": FLAGS.frames, "threads": rows})


def moving_pattern() -> np.ndarray:
    """(N, H, W, 3) uint8: a bright bar moving over noise, without a person, so a finder would run on each frame."""
    height, width = CLIP_SIZE
    frames = np.random.default_rng(0).integers(0, 128, (CLIP_FRAMES, height, width, 1)).repeat(3, -1).astype(np.uint8)
    for i, frame in enumerate(frames):
        left = i * width // CLIP_FRAMES
        frame[:, left : left + 40] = (255, 200, 100)
    return frames


def measure(model: str | None, clip: Path, threads: int, frames: int) -> dict[str, float]:
    """Measures one visit to the page: the numbers in `UNITS`, and `page_kb` per file.

    Raises UserError if the page does not run.
    """
    with serving(model) as url, open_browser([*camera(clip), EXPOSE_GC]) as browser:
        page = browser.new_context(**PHONE).new_page()
        page.add_init_script(f"({WATCH_TASKS})()")
        requests = []
        page.on("requestfinished", lambda request: requests.append(request))
        page.goto(f"{url}?threads={threads}&accelerator=wasm", timeout=TIMEOUT_MS)
        _wait_until_running(page)
        page.evaluate(COLLECT, [WARMUP, TIMEOUT_MS])
        loading = page.evaluate(TAKE_TASKS)
        found = collect(browser, page, frames)
        stats = page.evaluate("() => globalThis.poseDemo.stats()")
        traced = _trace_tasks(browser, page, max(1, round(TRACED * frames)))
        packed, unpacked = weigh_page(requests)
    latencies, memory = found["latency_ms"], found["memory"]
    others = [point | {"mb": point["gpu_mb"] + point["browser_mb"] + point["other_mb"]} for point in memory]
    return {
        "latency_ms_median": statistics.median(latencies),
        "latency_ms_p90": float(np.quantile(latencies, 0.9)),
        "inference_ms_median": statistics.median(found["inference_ms"]),
        "frames_per_second": frames / found["seconds"],
        "longest_task_ms": max(found["long_tasks"] or [max(wall for wall, _ in traced)]),
        "tasks_over_50_ms": len(found["long_tasks"]),
        "longest_task_cpu_ms": max(cpu for _, cpu in traced),
        "longest_loading_task_ms": max(loading, default=0),
        "memory_start_mb": memory[0]["page_mb"],
        "memory_end_mb": memory[-1]["page_mb"],
        "memory_peak_mb": max(point["page_before_mb"] for point in memory),
        "memory_growth_mb": growth_mb(memory, "page_mb"),
        "other_memory_growth_mb": growth_mb(others, "mb"),
        "memory": memory,
        "threads_used": stats["threads"],
        "page_kb": sum(packed.values()),
        "page_unpacked_kb": sum(unpacked.values()),
        "page_files_kb": packed,
    }


def collect(browser, page, frames: int) -> dict:
    """Collects results in parts: their times, the long tasks, and memory before the first part and after each.

    The time spent on measuring memory does not count.
    """
    found = {"latency_ms": [], "inference_ms": [], "long_tasks": [], "seconds": 0.0}
    memory = [memory_point(browser, page)]
    for count in np.diff(np.linspace(0, frames, min(PARTS, frames) + 1).astype(int)).tolist():
        page.evaluate(TAKE_TASKS)
        part = page.evaluate(COLLECT, [count, TIMEOUT_MS + 1000 * count])
        part["long_tasks"] = page.evaluate(TAKE_TASKS)
        found = {name: value + part[name] for name, value in found.items()}
        memory.append(memory_point(browser, page))
    return found | {"memory": memory}


@contextlib.contextmanager
def serving(model: str | None):
    """Serves the demo on this machine and yields its URL."""
    server = serve(Settings(model=model, port=0, http=True))
    try:
        yield server.url
    finally:
        server.close()


def print_row(threads: int, row: dict) -> None:
    """Prints one line per number."""
    print(f"{threads} threads ({row['threads_used']} used)")
    for name, text in UNITS.items():
        print(f"  {text:75s} {row[name]:8.1f}")


def weigh_page(requests: list) -> tuple[dict[str, float], dict[str, float]]:
    """kB per file of the page, as sent (gzipped) and uncompressed, without the model and the runtime."""
    packed, unpacked = {}, {}
    for request in requests:
        name = request.url.split("?")[0].split("/", 3)[3]
        if OWN_FILES.search("/" + name) and not name.startswith(("model/", "runtime/")):
            with contextlib.suppress(Exception):  # a worker's response is lost when the worker ends
                response = request.response()
                unpacked[name] = len(response.body()) / 1000
                packed[name] = int(response.header_value("content-length")) / 1000
    return packed, unpacked


def _wait_until_running(page) -> None:
    page.wait_for_function(
        "() => ['running', 'error'].includes(document.documentElement.dataset.state)", timeout=TIMEOUT_MS
    )
    state, error = page.evaluate("() => { const d = document.documentElement.dataset; return [d.state, d.error]; }")
    if state != "running":
        raise UserError(f"the page does not run: {error}; open it in a browser to find out why")


def _trace_tasks(browser, page, frames: int) -> list[tuple[float, float]]:
    """Wall and CPU time in ms of each task of the page's main thread, over `frames` more results."""
    browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline"])
    page.evaluate(COLLECT, [frames, TIMEOUT_MS])
    events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        (event.get("dur", 0) / 1000, event.get("tdur", 0) / 1000)
        for event in events
        if (event["pid"], event["tid"]) in main and event["ph"] == "X" and "Task" in event["name"]
    ]


if __name__ == "__main__":
    define_flags()
    command.run(main)
