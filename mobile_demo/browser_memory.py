"""How much memory a browser's processes use, and whether it grows.

This counts their own (anonymous) memory and, once, the memory they share, such as Chromium's image caches. It leaves
out mapped files, mainly the browser's program, because a process's share of them depends on how many browsers run.
"""

import re
from pathlib import Path

import numpy as np

EXPOSE_GC = "--js-flags=--expose-gc"  # lets `memory_point` collect garbage
SETTLING = 0.2  # the share of frames in which the browser compiles hot code and fills its pools
COUNTED = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+)", re.MULTILINE)  # of smaps_rollup, in kB
KINDS = {"renderer": "page", "GPU": "gpu", "browser": "browser"}  # by Chromium's name of the process


def memory_point(browser, page) -> dict[str, float]:
    """Current memory in MB: `page_mb` of the page, its worker and its service worker, `gpu_mb`, `browser_mb` and
    `other_mb` after a garbage collection, `page_before_mb` before it. Also `frame`, the number of results so far.

    NaN except on Linux. The browser needs the option EXPOSE_GC.
    """
    before = _by_kind(browser)["page_mb"]
    workers = [worker for worker in page.workers if worker.url.endswith("/worker.js")]  # its threads never respond
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
