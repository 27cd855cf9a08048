// A classic worker, since the runtime calls importScripts, which module workers refuse. All else is in modules.
import("./page/inference.js").then(
  ({serve}) => serve(self),
  (error) => self.postMessage({type: "trouble", code: "runtime-failed", detail: String(error)}),
);
