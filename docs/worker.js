// The search of the site runs in a worker, which browsers do not start for pages that are opened from a disk. There an
// invisible frame takes its place: it runs the same script, and messages go to and fro as events.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      this.ready = new Promise((resolve) => {
        const script = inner.document.createElement("script");
        script.src = new URL(address, location);
        script.onload = () => resolve(inner);
        inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inner.document.body.append(script);
      });
    }
    postMessage(data) {
      this.ready.then((inner) => inner.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {}
  };
}
