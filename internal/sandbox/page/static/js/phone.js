// The resident's WeChat: who he is, whether he follows, and his chat with the
// official account.

import { get, post, seg, emit, on, Feed } from "./api.js";
import { $, h, toast, complain, clockText, avatar, richText, link, Thread, composer, chip, fill, readBase64, remember, recall } from "./dom.js";

const caseNo = /#(\d{6,9})(?!\d)/g;
const defaultPhone = "13800000001";
const defaultHome = "3-2-1201";
const nicknames = ["小林", "小何", "许老师", "沈姐", "老宋", "方先生", "小叶", "赵阿姨"];

export function phonePane(state) {
  const field = $("phone-text");
  let residents = [];
  let feed = null;

  const thread = new Thread($("phone-chat"), draw, () => h("div", { class: "empty" },
    h("p", {}, state.resident ? "还没有消息。" : "先选一位住户，或者建一位新的。"),
    state.resident && !state.resident.following ? h("p", {}, "点右上角的「关注」，公众号会打招呼。") : null));

  function draw(item) {
    const time = h("time", { class: "when", datetime: item.at }, clockText(item.at, state.now));
    const mine = item.from === "resident";
    if (item.from === "platform" || item.kind === "fault") {
      return h("div", { class: "row notice fault" }, h("p", {}, h("b", {}, "平台提示 "), item.text), time);
    }
    if (item.kind === "event") {
      return h("div", { class: "row notice" }, h("p", {}, eventText(item)), time);
    }
    if (item.kind === "template" || item.kind === "subscribe") {
      return h("div", { class: "row theirs" }, avatar("管", "account"), h("div", { class: "stack-msg" }, templateCard(item), meta(item, time)));
    }
    const bubble = h("div", { class: "bubble" }, ...words(item));
    if (item.options?.length) {
      bubble.append(h("div", { class: "options" }, ...item.options.map((o) =>
        h("button", { type: "button", class: "option", onclick: () => choose(o) }, o.text))));
    }
    return h("div", { class: mine ? "row mine" : "row theirs" },
      mine ? avatar(state.resident?.nickname) : avatar("管", "account"),
      h("div", { class: "stack-msg" }, bubble, meta(item, time)));
  }

  function words(item) {
    if (!item.type || item.type === "text") return [richText(item.text, choose), item.url ? h("div", {}, link("打开链接", item.url)) : null];
    if (item.type === "image" && item.media_id) {
      return [h("img", { class: "photo", src: `/sim/residents/${seg(state.resident.openid)}/media/${seg(item.media_id)}`, alt: item.text || "图片", loading: "lazy" })];
    }
    return [`${mediaName(item.type)} ${item.title || item.text || ""}`, item.url ? h("div", {}, link("打开链接", item.url)) : null];
  }

  function meta(item, time) {
    const kinds = { passive: ["被动回复", "回调五秒内直接答复，不占额度"], service: ["客服消息", "48 小时窗口内，有条数限制"], template: ["模板消息", ""], subscribe: ["订阅通知", ""] };
    const k = kinds[item.kind];
    return h("div", { class: "meta" }, k ? h("span", { class: `tag tag-${item.kind}`, title: k[1] }, k[0]) : null, time);
  }

  // The template's own lines carry the words of its fields; without them only the
  // fields' kinds are known.
  function templateCard(item) {
    const lines = (item.text || "").split("\n").map((l) => l.trim()).filter((l) => l && l !== item.title);
    const pairs = lines.length ? lines.map((l) => l.match(/^([^::]{1,12})[::]\s*(.+)$/)?.slice(1) || ["", l])
      : Object.entries(item.fields || {}).map(([k, v]) => [fieldName(k), String(v)]);
    return h("div", { class: "t-card" },
      h("div", { class: "t-title" }, item.title || "服务通知"),
      pairs.length ? h("dl", {}, ...pairs.map(([k, v]) => h("div", { class: "t-row" }, h("dt", {}, k), h("dd", {}, v)))) : null,
      item.url ? h("div", { class: "t-foot" }, link("查看详情", item.url)) : null);
  }

  async function choose(option) {
    await say({ type: "text", text: option.text, menu_id: option.id || undefined });
  }

  async function say(message) {
    if (!state.resident) {
      toast("先选一位住户");
      return false;
    }
    const openid = state.resident.openid;
    trace("正在送达…");
    try {
      const done = await post(`residents/${seg(openid)}/messages`, message);
      trace(attemptsText(done));
    } catch (err) {
      trace("");
      complain(err);
      return false;
    } finally {
      feed?.now();
    }
    return true;
  }

  function trace(text) {
    $("phone-trace").textContent = text;
  }

  function showResident() {
    const r = state.resident;
    $("resident-name").textContent = r ? label(r) : "选择住户";
    const f = $("follow");
    f.hidden = !r;
    f.textContent = r?.following ? "取消关注" : "关注";
    f.classList.toggle("on", Boolean(r?.following));
    $("phone-form").classList.toggle("off", !r?.following);
    suggestions();
  }

  function suggestions() {
    const r = state.resident;
    if (!r?.following) {
      $("phone-chips").replaceChildren();
      return;
    }
    const list = [];
    if (state.caseNo) list.push(["怎么还没来"], [`查询 #${state.caseNo}`, "查询"], ["已解决"], ["谢谢"]);
    else list.push(...(r.bound_to?.length ? [] : [[bindText(r), "绑定房屋"]]), ["三栋电梯又坏了,老人下不了楼,你们管不管", "电梯坏了"]);
    list.push(["电梯困人了,快来", "有人被困"], ["人工"], ["帮助"]);
    $("phone-chips").replaceChildren(...list.map(([t, l]) => chip(t, field, l)));
  }

  function select(openid) {
    const r = residents.find((x) => x.openid === openid) || null;
    if (r && r.openid === state.resident?.openid && !feed?.abort.signal.aborted) {
      state.resident = r;
      showResident();
      return;
    }
    state.resident = r;
    feed?.stop();
    feed = null;
    state.caseNo = "";
    trace("");
    showResident();
    thread.clear();
    emit("resident", r);
    if (!r) return;
    remember("resident", r.openid);
    feed = new Feed(`residents/${seg(r.openid)}/chat`, {}, take);
  }

  function take(items, first) {
    if (first) thread.clear();
    const fresh = thread.put(items, first);
    if (!fresh.length) return;
    for (const item of fresh) {
      if (item.from !== "account") continue;
      for (const m of (item.text || "").matchAll(caseNo)) state.caseNo = m[1];
    }
    suggestions();
    emit("phone", { items: thread.items(), first, news: fresh.some((i) => i.from !== "resident") });
  }

  async function load() {
    try {
      const data = await get("residents");
      residents = data.residents || [];
    } catch (err) {
      complain(err);
      return;
    }
    emit("residents", residents);
    const keep = state.resident?.openid || recall("resident");
    const free = residents.filter((r) => !r.bound_to?.length);
    const start = residents.find((r) => r.openid === keep) || free.find((r) => r.phone === defaultPhone) || free.find((r) => !r.following);
    select(start?.openid);
    showResident();
  }

  async function toggleFollow() {
    const r = state.resident;
    if (!r) return;
    $("follow").disabled = true;
    try {
      trace(r.following ? "" : "正在送达…");
      const done = await post(`residents/${seg(r.openid)}/${r.following ? "unfollow" : "follow"}`);
      trace(attemptsText(done));
      await load();
      feed?.now();
    } catch (err) {
      trace("");
      complain(err);
    } finally {
      $("follow").disabled = false;
    }
  }

  function openPicker() {
    $("resident-search").value = "";
    listResidents();
    $("residents-dialog").showModal();
    $("resident-search").focus();
  }

  function listResidents() {
    const q = $("resident-search").value.trim().toLowerCase();
    const hits = residents.filter((r) => !q || [r.nickname, r.phone, ...(r.bound_to || [])].some((s) => (s || "").toLowerCase().includes(q)));
    const shown = hits.slice(0, 60).map((r) => h("li", {}, h("button", {
      type: "button", class: "person", "aria-current": r.openid === state.resident?.openid ? "true" : undefined,
      onclick: () => {
        $("residents-dialog").close();
        select(r.openid);
      },
    }, avatar(r.nickname), h("span", { class: "person-name" }, r.nickname || "未命名"),
    h("span", { class: "person-home" }, (r.bound_to || []).join("、") || r.phone || ""),
    h("span", { class: r.following ? "badge ok" : "badge" }, r.following ? "已关注" : "未关注"))));
    if (!shown.length) shown.push(h("li", { class: "empty" }, "没有这样的住户"));
    if (hits.length > 60) shown.push(h("li", { class: "empty" }, `还有 ${hits.length - 60} 位，请再输入几个字`));
    $("residents-list").replaceChildren(...shown);
  }

  async function create(e) {
    e.preventDefault();
    const phone = $("new-phone").value.trim();
    try {
      const { openid } = await post("residents", { nickname: $("new-name").value.trim(), phone: phone || undefined });
      state.resident = null;
      remember("resident", openid);
      $("new-dialog").close();
      await load();
      toast("建好了。现在点「关注」，公众号会打招呼。");
    } catch (err) {
      complain(err);
    }
  }

  $("follow").addEventListener("click", toggleFollow);
  $("resident-pick").addEventListener("click", openPicker);
  $("resident-search").addEventListener("input", listResidents);
  $("resident-new").addEventListener("click", () => {
    $("new-phone").value = residents.some((r) => r.phone === defaultPhone && r.bound_to?.length) ? "" : defaultPhone;
    const used = new Set(residents.map((r) => r.nickname));
    $("new-name").value = nicknames.find((n) => !used.has(n)) || "小林";
    $("new-dialog").showModal();
  });
  $("new-form").addEventListener("submit", create);
  $("phone-image").addEventListener("change", async (e) => {
    const file = e.target.files[0];
    e.target.value = "";
    if (!file) return;
    if (file.size > 10 << 20) {
      toast("图片不能超过 10 MB", true);
      return;
    }
    await say({ type: "image", name: file.name, base64: await readBase64(file) });
  });
  composer($("phone-form"), field, (text) => {
    if (state.resident && !state.resident.following) {
      toast("没有关注的人不能给公众号发消息，先点「关注」");
      return false;
    }
    return say({ type: "text", text });
  });
  on("fill-phone", (text) => fill(field, text));
  on("follow", toggleFollow);
  on("new-resident", () => $("resident-new").click());

  return { load, select, reload: load };
}

export function bindText(resident) {
  return `绑定 ${resident?.bound_to?.[0] || defaultHome} ${resident?.phone || defaultPhone}`;
}

function label(r) {
  const home = (r.bound_to || []).join("、");
  return home ? `${r.nickname}（${home}）` : r.nickname || "未命名";
}

function eventText(item) {
  const names = { subscribe: "关注了公众号", unsubscribe: "取消了关注", scan: "扫了二维码", SCAN: "扫了二维码", CLICK: "点了菜单", click: "点了菜单", VIEW: "打开了菜单链接", LOCATION: "上报了位置" };
  const name = names[item.type] || names[item.text];
  if (!name) return item.text || item.type || "事件";
  return item.text && item.text !== item.type && !names[item.text] ? `${name}:${item.text}` : name;
}

function mediaName(type) {
  return { image: "[图片]", voice: "[语音]", video: "[视频]", shortvideo: "[小视频]", location: "[位置]", link: "[链接]" }[type] || `[${type}]`;
}

// Template fields are named by type and number only; the words come with the
// template's own title, so the kind is all that can be shown.
function fieldName(key) {
  const kinds = { thing: "事项", character_string: "编号", time: "时间", date: "日期", phrase: "状态", number: "数量", amount: "金额", phone_number: "电话", name: "姓名", const: "类型", short_thing: "说明", keyword: "内容", first: "", remark: "备注", car_number: "车牌", letter: "字母", symbol: "符号" };
  const m = key.match(/^([a-z_]+?)(\d*)$/);
  return (m && kinds[m[1]]) ?? key;
}

// attemptsText tells how the platform's callback went, as WeChat itself never does.
function attemptsText(done) {
  const tries = done.attempts || [];
  if (!tries.length) return "";
  const last = tries[tries.length - 1];
  const ms = Math.max(1, Math.round(last.latency_ms ?? 0));
  const ok = last.status === 200;
  const how = !ok ? `回调失败（${last.status || "没有答复"}）` : last.reply ? `${ms} 毫秒内在同一次回调里答复` : `回调 ${ms} 毫秒收下，答复随后到`;
  return tries.length > 1 ? `共回调 ${tries.length} 次；${how}` : how;
}
