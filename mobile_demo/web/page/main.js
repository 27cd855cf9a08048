// Starts the page. For tests and curious users, it provides `poseDemo` and a `pose` event for each result.

import {Trouble} from "../pose/trouble.js";
import {connect} from "./controls.js";
import {Demo, SERVED} from "./demo.js";
import {fail} from "./status.js";

const demo = new Demo();

Object.assign(globalThis, {
  poseDemo: {
    get latest() {
      return demo.latest;
    },
    stats: () => ({
      ...demo.rates.get(),
      threads: demo.engine?.threads,
      build: demo.engine?.build,
      load_ms: demo.engine?.loadMs,
      webgpu: demo.engine?.trial,
      offline: demo.offline,
      finder: Boolean(demo.engine?.finder),
    }),
  },
});

if ("OffscreenCanvas" in globalThis && "createImageBitmap" in globalThis) {
  connect(demo);
  demo.loadModel(SERVED);
  demo.openCamera();
} else fail("model", new Trouble("browser-old"), () => location.reload());
