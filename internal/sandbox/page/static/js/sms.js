// The SMS inbox: everything the operator took, by phone, with its receipt.

import { get, post, seg, emit, on, Feed } from "./api.js";
import { $, h, toast, complain, clockText, Thread, composer } from "./dom.js";

const code = /(?<!\d)(\d{6})(?!\d)/;

export function smsPane(state) {
  const field = $("sms-text");
  let phone = "";
  let feed = null;

  const thread = new Thread($("sms-chat"), draw, () => h("div", { class: "empty" }, h("p", {}, "还没有短信。"), h("p", {}, "绑定房屋时，验证码会发到这里。")));

  function draw(item) {
    const m = code.exec(item.text || "");
    const sign = (item.sign || "").replace(/[【】]/g, "");
    const body = sign && !(item.text || "").startsWith("【") ? `【${sign}】${item.text}` : item.text;
    return h("div", { class: "row theirs sms-row" }, h("div", { class: "stack-msg" },
      h("div", { class: "who" }, h("b", {}, item.phone), h("time", { class: "when", datetime: item.at }, clockText(item.at, state.now))),
      h("div", { class: "bubble" }, body),
      h("div", { class: "meta" },
        h("span", { class: `badge ${item.state === "delivered" ? "ok" : item.state === "failed" ? "bad" : ""}` }, receipt(item)),
        item.segments > 1 ? h("span", {}, `${item.segments} 条计费`) : null,
        m ? h("button", { type: "button", class: "chip", onclick: () => emit("fill-phone", m[1]) }, `填入验证码 ${m[1]}`) : null,
        item.biz_id ? byHand(item) : null)));
  }

  function byHand(item) {
    const send = async (ok) => {
      try {
        await post(`sms/${seg(item.biz_id)}/report`, ok ? { ok: true } : { ok: false, err_code: "MK:0001" });
        toast("回执已送出");
        feed?.rewind(item.seq - 1);
        feed?.now();
      } catch (err) {
        complain(err);
      }
    };
    return h("details", { class: "by-hand" }, h("summary", {}, "回执"),
      h("button", { type: "button", class: "mini", onclick: () => send(true) }, "送达"),
      h("button", { type: "button", class: "mini", onclick: () => send(false) }, "失败"));
  }

  function follow() {
    feed?.stop();
    thread.clear();
    field.disabled = !phone;
    field.placeholder = phone ? "回这条短信…" : "先选一个号码";
    feed = new Feed("sms", phone ? { phone } : {}, take);
  }

  function take(items, first) {
    if (first) thread.clear();
    const fresh = thread.put(items, first);
    if (fresh.length) emit("sms", { items: thread.items(), first, news: true });
    // A receipt changes a message where it stands: look at waiting ones again.
    const waiting = thread.items().slice(-50).find((i) => i.state === "submitted");
    if (waiting) feed.rewind(waiting.seq - 1);
  }

  function choose(value) {
    if (value === phone) return;
    phone = value;
    $("sms-phone").value = value;
    follow();
  }

  $("sms-phone").addEventListener("change", () => {
    const v = $("sms-phone").value.trim();
    if (v && !/^1\d{10}$/.test(v)) {
      toast("手机号是 11 位数字", true);
      return;
    }
    choose(v);
  });
  $("sms-all").addEventListener("click", () => choose(""));
  composer($("sms-form"), field, async (text) => {
    if (!phone) return false;
    await post("sms/up", { phone, text });
    toast("短信已回复");
    return true;
  });
  on("residents", (list) => {
    const phones = [...new Set(list.map((r) => r.phone).filter(Boolean))].slice(0, 200);
    $("sms-phones").replaceChildren(...phones.map((p) => h("option", { value: p })));
  });

  return { load: follow, choose };
}

function receipt(item) {
  if (item.state === "delivered") return "已送达";
  if (item.state === "failed") return `未送达 ${item.err_code || ""}`.trim();
  return "已提交，等回执";
}
