// The WeCom side: work groups and 1:1 chats with the bot, seen through the eyes of
// the member who is chosen to speak.

import { get, post, seg, emit, on, Feed } from "./api.js";
import { $, h, toast, complain, clockText, avatar, markdown, link, Thread, composer, chip, fill, arrows, readBase64, remember, recall } from "./dom.js";

const caseNo = /#(\d{6,9})(?!\d)/;
const commands = /^\s*(接单|完成|转派|撤回|我的|待接单|帮助|绑定|通知|确认发送|取消|暂停|继续|补批|进度|电话名单|我来打|已电话)/;

export function groupPane(state) {
  const field = $("group-text");
  const names = new Map();
  const unread = new Map();
  let groups = [];
  let members = [];
  let room = null; // {id, name, members, single}
  let feed = null;
  let watchers = [];
  let quote = null;
  state.bot = "管家";

  const nameOf = (id) => names.get(id) || (id === "@all" || id === "all" ? "所有人" : id);

  const thread = new Thread($("group-chat"), draw, () => h("div", { class: "empty" },
    h("p", {}, room ? "这里还很安静。" : "还没有工作群。"),
    room ? h("p", {}, "住户报事后，工单卡片会出现在对应的群里。") : null));

  function draw(item, again) {
    const from = item.from || {};
    const mine = from.kind === "member" && from.userid === speaker();
    const who = from.kind === "bot" ? state.bot : from.kind === "webhook" ? "消息推送" : from.kind === "app" ? "应用消息" : nameOf(from.userid);
    const body = item.card ? card(item) : content(item);
    const el = h("div", { class: `row ${mine ? "mine" : "theirs"} ${again ? "changed" : ""}` },
      avatar(from.kind === "bot" ? "管" : from.kind === "webhook" ? "推" : who, from.kind === "bot" ? "account" : ""),
      h("div", { class: "stack-msg" },
        h("div", { class: "who" }, who, from.kind === "bot" ? h("span", { class: "bot-tag" }, "机器人") : null,
          h("time", { class: "when", datetime: item.at }, clockText(item.at, state.now)),
          h("button", { type: "button", class: "quote-button", onclick: () => setQuote(item) }, "引用")),
        item.quote ? h("div", { class: "quoted" }, summary(item.quote)) : null,
        body));
    return el;
  }

  function content(item) {
    if (item.recalled) return h("div", { class: "bubble" }, "消息已撤回");
    const photo = item.image_url ? h("img", { class: "photo", src: item.image_url, alt: "图片", loading: "lazy" }) : null;
    let body = withMentions(item.text || "");
    if (item.type === "markdown" || item.type === "markdown_v2") body = markdown(item.text, nameOf);
    else if (item.type === "image") body = photo ? "" : "[图片]";
    else if (item.type && item.type !== "text") body = `[${{ voice: "语音", file: "文件", video: "视频" }[item.type] || item.type}] ${item.text || ""}`;
    return h("div", { class: "bubble" }, body, photo, mentions(item));
  }

  function mentions(item) {
    if (!item.mentions?.length) return null;
    return h("div", { class: "mentions" }, ...item.mentions.map((m) => h("span", { class: `mention ${m === speaker() ? "me" : ""}` }, "@" + nameOf(m))));
  }

  function withMentions(text) {
    const at = "@" + state.bot;
    const out = document.createDocumentFragment();
    text.split(at).forEach((part, i) => {
      if (i) out.append(h("span", { class: "mention" }, at));
      out.append(part);
    });
    return out;
  }

  function card(item) {
    const c = item.views?.[speaker()] || item.card;
    const chosen = {};
    for (const s of c.selects || []) chosen[s.key] = s.selected || s.options?.[0]?.id || "";
    const click = async (b, el) => {
      const all = el.closest(".card").querySelectorAll("button, select");
      all.forEach((x) => (x.disabled = true));
      trace("正在等机器人换卡片（最多五秒）…");
      try {
        const done = await post(`${room.path}/clicks`, { from: speaker(), seq: item.seq, key: b.key, selected: Object.keys(chosen).length ? chosen : undefined });
        trace(clickText(done));
        emit("clicked", { key: b.key, text: b.text, status: done.status });
      } catch (err) {
        trace("");
        complain(err);
      } finally {
        all.forEach((x) => (x.disabled = false));
        feed?.now();
      }
    };
    const style = (b) => (b.style === 3 || /取消|撤/.test(b.text) ? "quiet" : b.style === 4 ? "grey" : "");
    return h("article", { class: "card", "aria-label": c.title || "卡片" },
      c.source ? h("div", { class: "card-source" }, c.source) : null,
      h("div", { class: "card-title" }, c.title || ""),
      c.desc ? h("div", { class: "card-desc" }, c.desc) : null,
      c.quote ? h("div", { class: "card-quote" }, c.quote) : null,
      c.rows?.length ? h("dl", {}, ...c.rows.map((r) => h("div", { class: "c-row" }, h("dt", {}, r.key), h("dd", {}, r.url ? link(r.value || "查看", r.url) : r.value)))) : null,
      c.sub_title ? h("div", { class: "card-sub" }, c.sub_title) : null,
      ...(c.selects || []).map((s) => h("label", { class: "card-select" }, s.title || "选择",
        h("select", { onchange: (e) => (chosen[s.key] = e.target.value), disabled: s.disabled },
          ...(s.options || []).map((o) => h("option", { value: o.id, selected: o.id === chosen[s.key] }, o.text))))),
      c.links?.length ? h("div", { class: "card-links" }, ...c.links.map((l) => h("span", {}, l.url ? link(l.text, l.url) : l.text))) : null,
      c.buttons?.length ? h("div", { class: "card-buttons" }, ...c.buttons.map((b) =>
        h("button", { type: "button", class: style(b), onclick: (e) => click(b, e.currentTarget) }, b.text))) : null);
  }

  function summary(item) {
    if (typeof item === "string") return item;
    return (item.text || item.card?.title || "[消息]").replace(/\s+/g, " ").slice(0, 60);
  }

  function setQuote(item) {
    quote = item;
    $("quote-bar").hidden = !item;
    $("quote-text").textContent = item ? "引用：" + summary(item) : "";
    if (item) field.focus();
  }

  function speaker() {
    return $("speaker").value;
  }

  function trace(text) {
    $("group-trace").textContent = text;
  }

  function rooms() {
    const tabs = groups.map((g) => ({ id: g.chatid, name: g.name || g.chatid }));
    tabs.push({ id: "@single", name: `与${state.bot}单聊` });
    $("rooms").replaceChildren(...tabs.map((t) => h("button", {
      type: "button", role: "tab", class: "room", "aria-selected": String(room?.key === t.id), tabindex: room?.key === t.id ? "0" : "-1", "aria-controls": "group-chat",
      onclick: () => select(t.id),
    }, t.name, unread.get(t.id) ? h("b", { class: "count", "aria-label": `${unread.get(t.id)} 条新消息` }, String(unread.get(t.id))) : null)));
    emit("group-unread", [...unread.values()].reduce((a, b) => a + b, 0));
  }

  function speakers() {
    const ids = room?.single ? [...names.keys()] : room?.members || [];
    const keep = speaker() || recall("speaker");
    $("speaker").replaceChildren(...ids.map((id) => h("option", { value: id, selected: id === keep }, nameOf(id))));
  }

  function select(key) {
    const single = key === "@single";
    const g = groups.find((x) => x.chatid === key);
    if (!single && !g) return;
    feed?.stop();
    setQuote(null);
    trace("");
    room = single ? { key, single: true, members: [] } : { key, single: false, members: g.members || [] };
    speakers();
    room.path = single ? `staff/${seg(speaker())}` : `groups/${seg(key)}`;
    unread.delete(key);
    remember("room", key);
    rooms();
    follow();
  }

  function follow() {
    feed?.stop();
    thread.clear();
    state.groupCase = "";
    suggestions();
    feed = new Feed(`${room.path}/chat`, {}, take);
  }

  function take(items, first) {
    if (first) thread.clear();
    const fresh = thread.put(items, first);
    if (!fresh.length) return;
    for (const item of fresh) {
      if (item.from?.kind === "member") continue;
      const m = caseNo.exec(item.card ? `${item.card.title} ${item.card.desc || ""}` : item.text || "");
      if (m) state.groupCase = m[1];
    }
    suggestions();
    emit("group", { items: thread.items(), first, news: fresh.some((i) => i.from?.kind !== "member") });
  }

  function suggestions() {
    const no = state.groupCase || state.caseNo;
    const at = room?.single ? "" : `@${state.bot} `;
    const list = [];
    if (no) {
      list.push([`${at}接单 #${no}`, "接单"], [`${at}#${no} 师傅十分钟到`, "答复住户"], [`${at}#${no} 备注 已联系维保单位`, "内部备注"],
        [`${at}完成 #${no} 更换门机皮带,试运行正常`, "完成"], [`${at}撤回 #${no}`, "撤回"]);
    }
    list.push([`${at}待接单`, "待接单"], [`${at}我的`, "我的"], [`${at}帮助`, "帮助"]);
    $("group-chips").replaceChildren(...list.map(([t, l]) => chip(t, field, l)));
    $("insert-at").hidden = Boolean(room?.single);
    $("insert-at").textContent = "@" + state.bot;
  }

  async function say(text, image) {
    if (!room || !speaker()) {
      toast("先选一位发言人");
      return false;
    }
    const done = await post(`${room.path}/messages`, { from: speaker(), text, quote_seq: quote?.seq, image });
    trace(done.heard ? `${state.bot}听见了` : room.single ? "" : `没有 @${state.bot}，话只留在群里`);
    setQuote(null);
    feed?.now();
    return true;
  }

  // Other groups are looked at now and then, so that a card that appears there
  // shows as unread.
  function watch() {
    watchers.forEach((w) => w.stop());
    watchers = groups.map((g) => new Feed(`groups/${seg(g.chatid)}/chat`, {}, (items, first) => {
      emit("heard", { chatid: g.chatid, items });
      if (first || room?.key === g.chatid) return;
      const n = items.filter((i) => i.from?.kind !== "member").length;
      if (!n) return;
      unread.set(g.chatid, (unread.get(g.chatid) || 0) + n);
      rooms();
    }, 2500));
  }

  async function load() {
    try {
      const [list, world] = await Promise.all([get("groups"), get("world")]);
      groups = list.groups || [];
      names.clear();
      for (const s of world.staff || []) names.set(s.userid, s.name || s.userid);
      for (const g of groups) for (const m of g.members || []) if (!names.has(m)) names.set(m, m);
      state.bot = world.bots?.[0]?.name || "管家";
      state.world = world;
      emit("world", world);
    } catch (err) {
      complain(err);
      return;
    }
    watch();
    const keep = recall("room");
    const start = groups.some((g) => g.chatid === keep) || keep === "@single" ? keep : groups[0]?.chatid;
    if (start) select(start);
    else rooms();
  }

  $("speaker").addEventListener("change", () => {
    remember("speaker", speaker());
    if (room?.single) select("@single");
    else {
      // Which side a bubble stands on depends on who is speaking.
      const items = thread.items();
      thread.clear();
      thread.put(items, true);
    }
  });
  arrows($("rooms"));
  $("quote-drop").addEventListener("click", () => setQuote(null));
  $("insert-at").addEventListener("click", () => fill(field, `@${state.bot} ${field.value.replace(`@${state.bot}`, "").trimStart()}`));
  $("group-image").addEventListener("change", async (e) => {
    const file = e.target.files[0];
    e.target.value = "";
    if (!file) return;
    try {
      if (await say(field.value.trim(), await readBase64(file))) fill(field, "");
    } catch (err) {
      complain(err);
    }
  });
  composer($("group-form"), field, (text) => say(text));
  on("fill-group", (text) => fill(field, room?.single ? text : `@${state.bot} ${text}`));
  on("phone", suggestions);

  return { load, select, currentCase: () => state.groupCase || state.caseNo };
}

export function isCommand(text, bot) {
  return commands.test(text.replace(`@${bot}`, ""));
}

function clickText(done) {
  return { replaced: "卡片已更新", no_answer: "五秒内没有等到新卡片", refused: "平台没有接受这次点击" }[done.status] || done.status;
}
