// The only door to the simulators: JSON over /sim/, and feeds that are polled
// with `after`.

export class SimError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const bus = new EventTarget();

export function emit(name, detail) {
  bus.dispatchEvent(new CustomEvent(name, { detail }));
}

export function on(name, f) {
  bus.addEventListener(name, (e) => f(e.detail));
}

async function request(method, path, body, signal) {
  const init = { method, signal, headers: {} };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  let res;
  try {
    res = await fetch("/sim/" + path, init);
  } catch (err) {
    if (err.name !== "AbortError") emit("offline", true);
    throw err;
  }
  emit("offline", false);
  const text = await res.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : {};
  } catch {
    data = null;
  }
  if (!res.ok || data === null) {
    const e = (data && data.error) || {};
    throw new SimError(res.status, e.code || "", e.message || `模拟器答复 ${res.status}`);
  }
  return data;
}

export const get = (path, signal) => request("GET", path, undefined, signal);
export const post = (path, body = {}) => request("POST", path, body);
export const put = (path, body) => request("PUT", path, body);
export const del = (path) => request("DELETE", path);

export const seg = encodeURIComponent;

const fast = 700;
const slow = 3000;

// Feed polls one chat. `path` is the address without query; each batch goes to
// `take(items, first)`. A feed that is stopped delivers nothing more, also when an
// answer is under way.
export class Feed {
  constructor(path, query, take, every = fast) {
    this.path = path;
    this.query = query;
    this.take = take;
    this.every = every;
    this.after = 0;
    this.first = true;
    this.abort = new AbortController();
    this.timer = 0;
    this.turn = this.poll();
  }

  // rewind makes the next poll start before `seq`, to see what changed in place.
  rewind(seq) {
    this.again = seq;
  }

  async poll() {
    if (this.abort.signal.aborted) return;
    let wait = this.every;
    try {
      const q = new URLSearchParams(this.query);
      q.set("after", String(this.again ?? this.after));
      this.again = undefined;
      const data = await get(`${this.path}?${q}`, this.abort.signal);
      if (this.abort.signal.aborted) return;
      const items = data.items || [];
      const last = Number(data.last_seq ?? 0);
      if (last < this.after) {
        // The simulators were reset: begin again.
        this.after = 0;
        this.first = true;
        this.take([], true);
      } else {
        this.after = last;
        this.take(items, this.first);
        this.first = false;
      }
    } catch (err) {
      if (err.name === "AbortError") return;
      if (err.status === 404) {
        // The simulators got another world: what this feed shows is no more.
        this.stop();
        emit("gone");
        return;
      }
      wait = slow;
    }
    if (document.hidden) wait = Math.max(wait, slow);
    this.timer = setTimeout(() => this.poll(), wait);
  }

  // now asks at once, after something was sent.
  now() {
    clearTimeout(this.timer);
    this.turn = this.turn.then(() => {
      clearTimeout(this.timer);
      return this.poll();
    });
  }

  stop() {
    this.abort.abort();
    clearTimeout(this.timer);
  }
}
