// The bar on top: clock, faults, counters.

import { get, post, put, del } from "./api.js";
import { $, h, toast, complain, fullTime } from "./dom.js";

// What can go wrong, in words a visitor understands.
const presets = [
  { name: "公众号回调重复投递", why: "同一条消息不止送一次，只应办一次", fault: { target: "wechat.callback", kind: "duplicate" } },
  { name: "公众号客服消息被限流", why: "错误码 45009", fault: { target: "wechat.custom_send", kind: "errcode", code: "45009" } },
  { name: "公众号客服消息超出 48 小时窗口", why: "错误码 45015,应改走模板消息", fault: { target: "wechat.custom_send", kind: "errcode", code: "45015" } },
  { name: "公众号令牌失效", why: "错误码 40001,应换新令牌后重发", fault: { target: "wechat.custom_send", kind: "errcode", code: "40001", times: 3 } },
  { name: "工作群长连接每 5 帧断一次", why: "应自动重连，卡片一张不少", fault: { target: "wecom.socket", kind: "disconnect", code: "5" } },
  { name: "工作群发送应答丢失", why: "已发出但没有应答，机器人不知道成没成", fault: { target: "wecom.send", kind: "timeout_after_accept" } },
  { name: "工作群发送被限流", why: "错误码 45009", fault: { target: "wecom.send", kind: "errcode", code: "45009" } },
  { name: "换卡片慢 6 秒", why: "超过 5 秒，卡片换不成", fault: { target: "wecom.update_card", kind: "delay", ms: 6000 } },
  { name: "群推送（webhook）失败", why: "错误码 93000", fault: { target: "wecom.webhook", kind: "errcode", code: "93000" } },
  { name: "短信接口收下后超时", why: "已受理但没有答复，不能重发", fault: { target: "sms.send", kind: "timeout_after_accept" } },
  { name: "短信被流控", why: "isv.BUSINESS_LIMIT_CONTROL", fault: { target: "sms.send", kind: "errcode", code: "isv.BUSINESS_LIMIT_CONTROL" } },
  { name: "短信回执说失败", why: "空号、关机一类", fault: { target: "sms.report", kind: "receipt", code: "MK:0001" } },
];

const targets = ["wechat.token", "wechat.custom_send", "wechat.template_send", "wechat.template_result", "wechat.subscribe_send", "wechat.media", "wechat.qrcode", "wechat.menu", "wechat.user", "wechat.oauth", "wechat.callback",
  "wecom.socket", "wecom.callback", "wecom.send", "wecom.respond", "wecom.update_card", "wecom.token", "wecom.app_send", "wecom.webhook",
  "sms.send", "sms.query", "sms.template", "sms.report", "sms.up"];

const kinds = { errcode: "返回错误码", http: "HTTP 错误", timeout_before: "没收下就超时", timeout_after_accept: "收下后超时", slow: "变慢", drop: "丢掉应答", delay: "推迟", duplicate: "重复", disconnect: "断开", receipt: "回执失败" };

export function tools(state, reload) {
  let faults = [];

  const same = (a, b) => a.target === b.target && a.kind === b.kind && String(a.code || "") === String(b.code || "");

  async function readFaults() {
    try {
      const data = await get("faults");
      faults = Array.isArray(data) ? data : data.faults || [];
    } catch {
      faults = [];
    }
    showFaults();
  }

  async function setFaults(list) {
    try {
      // What has struck is the simulators' count, not part of a fault.
      if (list.length) await put("faults", list.map(({ struck, ...f }) => f));
      else await del("faults");
    } catch (err) {
      complain(err);
    }
    await readFaults();
  }

  function showFaults() {
    const n = $("fault-count");
    n.hidden = !faults.length;
    n.textContent = String(faults.length);
    $("fault-presets").replaceChildren(...presets.map((p) => {
      const on = faults.some((f) => same(f, p.fault));
      const box = h("input", { type: "checkbox", role: "switch", onchange: () => setFaults(on ? faults.filter((f) => !same(f, p.fault)) : [...faults, p.fault]) });
      box.checked = on;
      return h("label", { class: on ? "switch on" : "switch" }, box, h("span", {}, h("b", {}, p.name), h("small", {}, p.why)));
    }));
    $("fault-list").replaceChildren(...(faults.length ? faults.map((f) => h("li", {},
      h("span", {}, h("code", {}, f.target), ` ${kinds[f.kind] || f.kind}`, ...detail(f)),
      h("button", { type: "button", class: "mini", onclick: () => setFaults(faults.filter((x) => x !== f)) }, "取消"))) : [h("li", { class: "empty" }, "没有故障，一切正常")]));
  }

  function detail(f) {
    const out = [];
    if (f.code) out.push(` · ${f.code}`);
    if (f.ms) out.push(` · ${f.ms} 毫秒`);
    if (f.share && f.share < 1) out.push(` · 约 ${Math.round(f.share * 100)}%`);
    if (f.times) out.push(` · ${f.times} 次`);
    if (f.struck) out.push(` · 已发生 ${f.struck} 次`);
    for (const [k, v] of Object.entries(f.match || {})) if (v) out.push(` · 只对 ${k} ${v}`);
    return out;
  }

  function clean(f) {
    return Object.fromEntries(Object.entries(f).filter(([, v]) => v !== "" && v !== undefined && v !== null && !Number.isNaN(v)));
  }

  async function showCounters() {
    $("counters-body").replaceChildren(h("p", { class: "empty" }, "正在读取…"));
    $("counters-dialog").showModal();
    try {
      const c = await get("counters");
      const dup = c.duplicates || {};
      const n = (dup.out_id?.length || 0) + (dup.content?.length || 0);
      const rows = (c.calls || []).slice().sort((a, b) => a.target.localeCompare(b.target));
      $("counters-body").replaceChildren(
        h("p", { class: n ? "verdict bad" : "verdict" }, n ? `发现 ${n} 处重复` : "没有重复的发送"),
        rows.length ? h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "接口"), h("th", { scope: "col" }, "结果"), h("th", { scope: "col", class: "num" }, "次数"))),
          h("tbody", {}, ...rows.map((r) => h("tr", {}, h("td", {}, h("code", {}, r.target)), h("td", {}, r.outcome), h("td", { class: "num" }, String(r.n))))))
          : h("p", { class: "empty" }, "还没有调用"));
    } catch (err) {
      complain(err);
    }
  }

  let offset = null; // simulated time minus the browser's

  async function readClock() {
    try {
      const data = await get("clock");
      offset = new Date(data.now).getTime() - Date.now();
      $("clock").hidden = false;
      if (data.adjustable === false) $("clock-buttons").hidden = true;
      tick();
    } catch {
      $("clock").hidden = offset === null;
    }
  }

  function tick() {
    if (offset === null) return;
    const now = new Date(Date.now() + offset);
    state.now = now;
    $("clock-now").textContent = fullTime(now);
    $("clock-now").dateTime = now.toISOString();
  }

  async function advance(e) {
    const seconds = Number(e.target.dataset.advance);
    if (!seconds) return;
    const buttons = [...$("clock-buttons").children];
    buttons.forEach((b) => (b.disabled = true));
    try {
      await post("clock", { advance_s: seconds });
      await readClock();
      toast("时间往前走了，到点的事已经办完");
      reload();
    } catch (err) {
      if (err.status === 409) {
        $("clock-buttons").hidden = true;
        toast("模拟器单独运行时，时间不能拨");
      } else {
        complain(err);
      }
    } finally {
      buttons.forEach((b) => (b.disabled = false));
    }
  }

  $("fault-target").replaceChildren(...targets.map((t) => h("option", { value: t }, t)));
  $("fault-kind").replaceChildren(...Object.entries(kinds).map(([k, v]) => h("option", { value: k }, `${v}（${k}）`)));
  $("fault-form").addEventListener("submit", (e) => {
    e.preventDefault();
    const v = (id) => $(id).value.trim();
    const num = (id) => (v(id) === "" ? undefined : Number(v(id)));
    const f = clean({ target: v("fault-target"), kind: v("fault-kind"), share: num("fault-share"), times: num("fault-times"), code: v("fault-code"), ms: num("fault-ms") });
    if (v("fault-phone")) f.match = { phone: v("fault-phone") };
    setFaults([...faults, f]);
  });
  $("fault-clear").addEventListener("click", () => setFaults([]));
  $("open-faults").addEventListener("click", () => {
    readFaults();
    $("faults-dialog").showModal();
  });
  $("open-counters").addEventListener("click", showCounters);
  $("clock-buttons").addEventListener("click", advance);

  return {
    load() {
      readClock();
      readFaults();
      setInterval(tick, 1000);
      setInterval(() => !document.hidden && readClock(), 15000);
    },
  };
}
