"""A phone-sized page that shows the demo, and what a test asks it."""

from dataclasses import dataclass

import numpy as np

TIMEOUT_MS = 60_000
# JSON of a result: typed arrays become lists.
PLAIN = "(value) => JSON.parse(JSON.stringify(value, (_, v) => ArrayBuffer.isView(v) ? Array.from(v) : v))"


@dataclass
class Phone:
    """`page` is a playwright page, `url` where the demo is served; with a `/` at its end."""

    page: object
    url: str

    def open(self, query: str = "") -> "Phone":
        """Goes to the demo; `query` without the question mark."""
        self.page.goto(f"{self.url}?{query}", timeout=TIMEOUT_MS)
        return self

    def wait_for(self, state: str, timeout_ms: int = TIMEOUT_MS) -> "Phone":
        """Until the page is in that state; fails with the state it is in instead."""
        try:
            self.page.wait_for_function(
                "state => document.documentElement.dataset.state === state", arg=state, timeout=timeout_ms
            )
        except Exception as error:
            raise AssertionError(f"the page is {self.state()}, not {state}: {self.visible_text()}") from error
        return self

    def state(self) -> str:
        """The page's state, and its error if it has one."""
        state, error = self.page.evaluate(
            "() => [document.documentElement.dataset.state, document.documentElement.dataset.error]"
        )
        return f"{state}: {error}" if state == "error" else state

    def visible_text(self) -> str:
        return self.page.evaluate("() => document.body.innerText")

    def latest(self) -> dict | None:
        """The newest result."""
        return self.page.evaluate(f"() => ({PLAIN})(globalThis.poseDemo.latest)")

    def results(self, count: int, timeout_ms: int = TIMEOUT_MS) -> list[dict]:
        """The next `count` results, as the page's `pose` events bring them."""
        return self.page.evaluate(
            f"""([count, timeout]) => new Promise((resolve, reject) => {{
                const found = [];
                const late = () => reject(new Error(`${{found.length}} of ${{count}} results in ${{timeout}} ms`));
                setTimeout(late, timeout);
                globalThis.addEventListener("pose", function listen() {{
                    found.push(({PLAIN})(globalThis.poseDemo.latest));
                    if (found.length < count) return;
                    globalThis.removeEventListener("pose", listen);
                    resolve(found);
                }});
            }})""",
            [count, timeout_ms],
        )


def points(values: list, dimensions: int) -> np.ndarray:
    """(J, dimensions) from a result's list, flat or not."""
    return np.array(values, np.float64).reshape(-1, dimensions)
