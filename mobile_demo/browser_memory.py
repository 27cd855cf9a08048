"""How much memory a browser's processes hold, and whether it grows.

Counted is what is theirs (anonymous memory) and what they share with each other (Chromium's caches of pictures, for
one), each share once. Files that they map, the browser's program most of all, are not: they weigh on a process the more
the fewer other browsers run.
"""

import re
from pathlib import Path

import numpy as np

EXPOSE_GC = "--js-flags=--expose-gc"  # Chromium's option by which `collected` can collect
SETTLING = 0.2  # of the frames; the browser compiles what is hot, and fills its pools
COUNTED = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+)", re.MULTILINE)  # of smaps_rollup, in kB
KINDS = {"renderer": "page", "GPU": "gpu", "browser": "browser"}  # by what Chromium calls its processes


def memory_point(browser, page) -> dict[str, float]:
    """MB now: `page_mb` of the page, its worker and its service worker, `gpu_mb`, `browser_mb`, `other_mb`, all after
    their garbage was collected; `page_before_mb` with it. And `frame`, how many results there were.

    NaN where no Linux counts it. The browser needs the option EXPOSE_GC.
    """
    before = _by_kind(browser)["page_mb"]
    workers = [worker for worker in page.workers if worker.url.endswith("/worker.js")]  # a thread of it never listens
    for scope in [page, *workers]:
        scope.evaluate("() => gc()")
    frame = page.evaluate("() => globalThis.poseDemo.latest.frame")
    return {"frame": frame, "page_before_mb": before, **_by_kind(browser)}


def growth_mb(points: list[dict[str, float]], name: str) -> float:
    """MB per 1,000 frames: the slope of the line through the points after the browser has settled."""
    frames, values = (np.array([point[key] for point in points], np.float64) for key in ("frame", name))
    settled = frames >= frames[0] + SETTLING * (frames[-1] - frames[0])
    if settled.sum() < 2:
        return float("nan")
    return float(1000 * np.polyfit(frames[settled], values[settled], 1)[0])


def _by_kind(browser) -> dict[str, float]:
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    sums = dict.fromkeys(["page_mb", "gpu_mb", "browser_mb", "other_mb"], 0.0)
    for process in processes:
        file = Path(f"/proc/{process['id']}/smaps_rollup")
        held_kb = sum(map(int, COUNTED.findall(file.read_text()))) if file.is_file() else float("nan")
        sums[KINDS.get(process["type"], "other") + "_mb"] += held_kb / 1024
    return sums
