// Small helpers to build the page. Texts from the simulators only ever become text
// nodes: nothing a resident writes is read as HTML.

export const $ = (id) => document.getElementById(id);

// h builds an element: h("p", {class: "x", onclick: f}, "text", child).
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else if (k === "class") el.className = v;
    else if (k === "hue") el.style.setProperty("--hue", v);
    else el.setAttribute(k, v === true ? "" : v);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

export function toast(text, bad = false) {
  const t = h("div", { class: bad ? "toast bad" : "toast" }, text);
  $("toasts").append(t);
  setTimeout(() => t.remove(), bad ? 6000 : 3500);
}

export function complain(err) {
  if (err.name === "AbortError") return;
  toast(err.message || "没有成功", true);
}

const hhmm = new Intl.DateTimeFormat("zh-CN", { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: "Asia/Shanghai" });
const mdhm = new Intl.DateTimeFormat("zh-CN", { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false, timeZone: "Asia/Shanghai" });
const ymd = new Intl.DateTimeFormat("zh-CN", { dateStyle: "short", timeZone: "Asia/Shanghai" });

export function clockText(at, now) {
  const d = new Date(at);
  if (Number.isNaN(d.getTime())) return "";
  return ymd.format(d) === ymd.format(now || new Date()) ? hhmm.format(d) : mdhm.format(d);
}

// The estate's clock is Beijing's wherever the browser stands.
const day = new Intl.DateTimeFormat("zh-CN", { month: "long", day: "numeric", timeZone: "Asia/Shanghai" });
const weekday = new Intl.DateTimeFormat("zh-CN", { weekday: "short", timeZone: "Asia/Shanghai" });
const hms = new Intl.DateTimeFormat("zh-CN", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZone: "Asia/Shanghai" });

export const fullTime = (d) => `${day.format(d)} ${weekday.format(d)} ${hms.format(d)}`;

// hue gives each name a colour of its own, always the same.
export function hue(name) {
  let n = 0;
  for (const c of name || "") n = (n * 31 + c.codePointAt(0)) % 360;
  return String(n);
}

export function avatar(name, kind = "") {
  const first = [...(name || "?").trim()][0] || "?";
  return h("span", { class: `avatar ${kind}`, hue: hue(name), "aria-hidden": "true" }, first);
}

const webLink = /^https?:\/\//i;

export function link(text, url) {
  if (!webLink.test(url)) return document.createTextNode(text);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text);
}

// richText understands what WeChat understands in a text: addresses, and the two
// kinds of <a>: a web link and a menu choice, which says its text when tapped.
export function richText(text, choose) {
  const out = document.createDocumentFragment();
  const anchor = /<a\s+href="([^"]*)"[^>]*>([^<]*)<\/a>|(https?:\/\/[^\s<>"，。；、）)]+)/gi;
  let at = 0;
  for (const m of (text || "").matchAll(anchor)) {
    out.append(text.slice(at, m.index));
    at = m.index + m[0].length;
    if (m[3]) {
      out.append(link(m[3], m[3]));
      continue;
    }
    const href = m[1].replaceAll("&amp;", "&");
    if (href.toLowerCase().startsWith("weixin://bizmsgmenu?")) {
      const q = new URLSearchParams(href.slice(href.indexOf("?") + 1));
      const say = q.get("msgmenucontent") || m[2];
      out.append(h("button", { type: "button", class: "option", onclick: () => choose?.({ id: q.get("msgmenuid") || "", text: say }) }, m[2]));
      continue;
    }
    out.append(link(m[2], href));
  }
  out.append((text || "").slice(at));
  return out;
}

// markdown draws WeCom's small dialect: headings, bold, links, code, quotes, three
// colours and mentions.
export function markdown(text, nameOf) {
  const out = h("div", { class: "md" });
  let quote = null;
  for (const line of (text || "").split("\n")) {
    const q = line.match(/^\s*>\s?(.*)$/);
    if (q) {
      quote ??= out.appendChild(h("blockquote"));
      quote.append(h("div", {}, ...spans(q[1], nameOf)));
      continue;
    }
    quote = null;
    const head = line.match(/^(#{1,6})\s+(.*)$/);
    if (head) {
      out.append(h("div", { class: `md-h md-h${Math.min(head[1].length, 3)}` }, ...spans(head[2], nameOf)));
      continue;
    }
    out.append(line.trim() ? h("div", {}, ...spans(line, nameOf)) : h("div", { class: "md-gap" }));
  }
  return out;
}

const inline = /\*\*(.+?)\*\*|\[([^\]]+)\]\(([^)\s]+)\)|`([^`]+)`|<font color="(\w+)">(.*?)<\/font>|<@([\w@.\-]+)>/g;

function spans(text, nameOf) {
  const out = [];
  let at = 0;
  for (const m of text.matchAll(inline)) {
    out.push(text.slice(at, m.index));
    at = m.index + m[0].length;
    if (m[1] !== undefined) out.push(h("strong", {}, ...spans(m[1], nameOf)));
    else if (m[2] !== undefined) out.push(link(m[2], m[3]));
    else if (m[4] !== undefined) out.push(h("code", {}, m[4]));
    else if (m[5] !== undefined) out.push(h("span", { class: `font-${m[5]}` }, ...spans(m[6], nameOf)));
    else out.push(h("span", { class: "mention" }, "@" + nameOf(m[7])));
  }
  out.push(text.slice(at));
  return out;
}

// Thread keeps drawn items in order of `seq` and redraws one in place when it
// comes again.
export class Thread {
  constructor(box, draw, empty) {
    this.box = box;
    this.draw = draw;
    this.empty = empty;
    // The newest stays in view while the box shrinks or a picture arrives.
    this.atEnd = true;
    box.addEventListener("scroll", () => (this.atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 120));
    new ResizeObserver(() => this.atEnd && this.toEnd()).observe(box);
    box.addEventListener("load", () => this.atEnd && this.toEnd(), true);
    this.clear();
  }

  clear() {
    this.rows = new Map();
    this.order = [];
    this.box.replaceChildren(this.empty());
    this.atEnd = true;
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  // put draws items; returns those that are new or changed. With first nothing moves.
  put(items, first = false) {
    if (!items.length) return [];
    const stick = this.atEnd;
    const fresh = [];
    let added = false;
    for (const item of items) {
      const old = this.rows.get(item.seq);
      const mark = JSON.stringify(item);
      if (old && old.mark === mark) continue;
      const el = this.draw(item, Boolean(old));
      el.dataset.seq = item.seq;
      fresh.push(item);
      if (old) {
        old.el.replaceWith(el);
        this.rows.set(item.seq, { el, mark, item });
        continue;
      }
      if (!this.rows.size) this.box.replaceChildren();
      else if (!first) el.classList.add("fresh");
      added = true;
      this.rows.set(item.seq, { el, mark, item });
      const next = this.order.find((s) => s > item.seq);
      if (next === undefined) {
        this.order.push(item.seq);
        this.box.append(el);
      } else {
        this.order.splice(this.order.indexOf(next), 0, item.seq);
        this.box.insertBefore(el, this.rows.get(next).el);
      }
    }
    if (added && stick) this.toEnd();
    return fresh;
  }

  items() {
    return this.order.map((s) => this.rows.get(s).item);
  }

  get(seq) {
    return this.rows.get(seq)?.item;
  }
}

// fill puts a suggestion into a field, ready to be changed or sent.
export function fill(field, text) {
  field.value = text;
  grow(field);
  field.focus();
  field.setSelectionRange(text.length, text.length);
}

export function grow(field) {
  field.style.height = "auto";
  field.style.height = Math.min(field.scrollHeight, 120) + "px";
}

// composer sends on Enter (not while an input method is composing) and on submit.
export function composer(form, field, send) {
  let busy = false;
  const go = async () => {
    const text = field.value.trim();
    if (!text || busy) return;
    busy = true;
    try {
      if (await send(text) !== false && field.value.trim() === text) {
        field.value = "";
        grow(field);
      }
    } catch (err) {
      complain(err);
    } finally {
      busy = false;
    }
  };
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    go();
  });
  field.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    go();
  });
  field.addEventListener("input", () => grow(field));
}

// arrows moves between the tabs of a list with the arrow keys.
export function arrows(list) {
  list.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    const tabs = [...list.querySelectorAll('[role="tab"]')];
    const at = tabs.indexOf(document.activeElement);
    if (!step || at < 0) return;
    const next = (at + step + tabs.length) % tabs.length;
    tabs[next].click();
    // Choosing may have drawn the list anew.
    list.querySelectorAll('[role="tab"]')[next]?.focus();
  });
}

export function chip(text, field, label = text) {
  return h("button", { type: "button", class: "chip", title: text, onclick: () => fill(field, text) }, label);
}

export async function readBase64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let s = "";
  for (let i = 0; i < bytes.length; i += 0x8000) s += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(s);
}

export function remember(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // Private windows may refuse storage; the choice then lasts for this view only.
  }
}

export function recall(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}
