import assert from "node:assert/strict";
import test from "node:test";
import {keepOffline} from "../../../mobile_demo/web/page/offline.js";

/** A browser whose first service worker ends in that state. */
function browser(state) {
  const installing = {state: "installing", onstatechange: () => {}};
  const ready = new Promise((resolve) => {
    if (state === "activated") resolve({});
  });
  const register = async () => {
    setTimeout(() => {
      installing.state = state;
      installing.onstatechange();
    }, 10);
    return {active: null, installing};
  };
  Object.defineProperty(globalThis, "navigator", {value: {serviceWorker: {register, ready}}, configurable: true});
}

test("a page that could not be kept whole is told, not waited for", {timeout: 5000}, async () => {
  for (const [state, kept] of Object.entries({activated: "kept", redundant: "failed"})) {
    browser(state);
    assert.equal(await keepOffline("threaded"), kept);
  }
});
