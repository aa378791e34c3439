// SHA-256 of a file, piece by piece: the browser's own needs the whole file in memory, and an encrypted page.
const K = new Uint32Array(64);
const START = new Uint32Array(8);
for (let number = 2, found = 0; found < 64; number++) {
  let prime = true;
  for (let one = 2; one * one <= number && prime; one++) prime = number % one !== 0;
  if (!prime) continue;
  const bits = (root) => Math.floor((root - Math.floor(root)) * 2 ** 32);
  if (found < 8) START[found] = bits(Math.sqrt(number));
  K[found++] = bits(Math.cbrt(number));
}

/** The digest of a Blob as hex digits. `progress(share)` is called now and then. */
export async function sha256(blob, progress = () => {}) {
  const state = START.slice();
  const rest = new Uint8Array(64);
  let held = 0;
  let done = 0;
  const words = new Int32Array(64);
  const reader = blob.stream().getReader();
  for (;;) {
    const { done: end, value } = await reader.read();
    if (end) break;
    let place = 0;
    if (held) {
      place = Math.min(64 - held, value.length);
      rest.set(value.subarray(0, place), held);
      held += place;
      if (held === 64) { block(state, words, new DataView(rest.buffer), 0); held = 0; }
    }
    if (held === 0) {
      const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
      for (; place + 64 <= value.length; place += 64) block(state, words, view, place);
      rest.set(value.subarray(place));
      held = value.length - place;
    }
    done += value.length;
    progress(done / blob.size);
  }
  const last = new Uint8Array(held < 56 ? 64 : 128);
  last.set(rest.subarray(0, held));
  last[held] = 0x80;
  const view = new DataView(last.buffer);
  view.setUint32(last.length - 8, Math.floor(done / 2 ** 29));
  view.setUint32(last.length - 4, (done * 8) >>> 0);
  for (let place = 0; place < last.length; place += 64) block(state, words, view, place);
  return [...state].map((one) => one.toString(16).padStart(8, "0")).join("");
}

function block(state, words, view, at) {
  for (let one = 0; one < 16; one++) words[one] = view.getInt32(at + 4 * one);
  for (let one = 16; one < 64; one++) {
    const [x, y] = [words[one - 15], words[one - 2]];
    const low = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const high = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    words[one] = (words[one - 16] + low + words[one - 7] + high) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let one = 0; one < 64; one++) {
    const high = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const first = (h + high + ((e & f) ^ (~e & g)) + K[one] + words[one]) | 0;
    const low = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const second = (low + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g; g = f; f = e; e = (d + first) | 0; d = c; c = b; b = a; a = (first + second) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((one, place) => { state[place] += one; });
}
