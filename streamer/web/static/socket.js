// The WebSocket of the live pictures: see streamer/web/socket.py for what is sent.

const FIRST_MS = 500;
const LAST_MS = 10000;

export class Pictures {
  #socket = null;
  #wanted = { cameras: [], width: 640 };
  #delay = FIRST_MS;
  #decoder = new TextDecoder();

  /** `on.frame(frame, jpeg)`: resolves when it was shown; `on.cameras(list)`, `on.up()`, `on.down(why)`. */
  constructor(on) {
    this.on = on;
    document.addEventListener("visibilitychange", () => this.#ask());
    this.#connect();
  }

  /** Watch these cameras from now on, in pictures at least `width` pixels wide. */
  watch(cameras, width) {
    const same = width === this.#wanted.width && cameras.join("\n") === this.#wanted.cameras.join("\n");
    this.#wanted = { cameras, width };
    if (!same) this.#ask();
  }

  #ask() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#send({ watch: document.hidden ? { cameras: [], width: 640 } : this.#wanted });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
    let why = "";
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#delay = FIRST_MS;
      this.on.up();
      this.#ask();
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        const message = JSON.parse(data);
        if (message.cameras) this.on.cameras(message.cameras);
        if (message.error) why = message.error.text;
        return;
      }
      const length = new DataView(data).getUint32(0);
      const frame = JSON.parse(this.#decoder.decode(new Uint8Array(data, 4, length)));
      this.on.frame(frame, new Uint8Array(data, 4 + length)).finally(() => this.#send({ ack: 1 }));
    };
    socket.onclose = ({ code }) => {
      if (code === 4401) {
        location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
        return;
      }
      this.on.down(why);
      setTimeout(() => this.#connect(), this.#delay * (0.8 + 0.4 * Math.random()));
      this.#delay = Math.min(LAST_MS, 2 * this.#delay);
    };
    this.#socket = socket;
  }
}
