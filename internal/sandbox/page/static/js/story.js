// The story a first visitor can follow. A step counts as done when its words were
// really said in one of the chats; nothing is sent on the visitor's behalf except
// following the account.

import { emit, on } from "./api.js";
import { $, h } from "./dom.js";
import { bindText } from "./phone.js";
import { isCommand } from "./group.js";

const number = /#\d{6,9}/;

export function story(state, show) {
  const seen = { resident: [], account: [], member: [], clicks: [] };
  let chosen = -1;

  const said = (re) => seen.resident.some((t) => re.test(t));
  const no = () => state.groupCase || state.caseNo;
  const hash = () => "#" + (no() || "工单号");

  const steps = [
    { title: "关注", where: "phone", text: () => (state.resident ? "选好的住户还没有关注公众号。点「关注」，公众号会打招呼。" : "先选一位住户，或者建一位新的。"),
      chips: () => [state.resident ? ["点「关注」", () => emit("follow")] : ["建一位新住户", () => emit("new-resident")]],
      done: () => Boolean(state.resident?.following) },
    { title: "绑定房屋", where: "phone", text: () => "住户报出房号和登记过的手机号，验证码会出现在右边的短信里，再把六位数字发回去。已经绑好的住户可以跳过。",
      chips: () => [[bindText(state.resident), () => emit("fill-phone", bindText(state.resident))]],
      done: () => Boolean(state.resident?.bound_to?.length) || (said(/^绑定/) && said(/^\d{6}$/)) || said(/电梯/) },
    { title: "报事", where: "phone", text: () => "用住户自己的话说。答复在同一次回调里带着工单号回来，卡片同时出现在工作群。",
      chips: () => [["三栋电梯又坏了,老人下不了楼,你们管不管", () => emit("fill-phone", "三栋电梯又坏了,老人下不了楼,你们管不管")]],
      done: () => seen.account.some((t) => number.test(t)) },
    { title: "接单", where: "group", text: () => "看哪个群亮了红点。点卡片上的「接单」，或者在群里说。换一位发言人再接一次，会知道已经被谁接了。",
      chips: () => [[`@${state.bot} 接单 ${hash()}`, () => emit("fill-group", `接单 ${hash()}`)]],
      done: () => seen.clicks.includes("接单") || seen.member.some((t) => /接单\s*#\d/.test(t)) },
    { title: "答复住户", where: "group", text: () => "带上工单号的话才会发给住户，五秒内还能撤回。不 @ 机器人、不带号的话只留在群里。",
      chips: () => [[`@${state.bot} ${hash()} 师傅十分钟到`, () => emit("fill-group", `${hash()} 师傅十分钟到`)]],
      done: () => seen.member.some((t) => /#\d{6,9}\s+(?!备注)\S/.test(t) && !isCommand(t, state.bot)) },
    { title: "催一催", where: "phone", text: () => "住户再问一声：是催办，不会多出一张单。",
      chips: () => [["怎么还没来", () => emit("fill-phone", "怎么还没来")]],
      done: () => said(/还没来|催/) },
    { title: "完成与评价", where: "group", text: () => "员工写明措施；住户会被问是否解决，再打分。之后一句「谢谢」不会重开。",
      chips: () => [[`@${state.bot} 完成 ${hash()} 更换门机皮带,试运行正常`, () => emit("fill-group", `完成 ${hash()} 更换门机皮带,试运行正常`)],
        ["已解决", () => emit("fill-phone", "已解决")], ["5", () => emit("fill-phone", "5")], ["谢谢", () => emit("fill-phone", "谢谢")]],
      done: () => said(/^(已解决|部分解决|未解决)$/) && said(/^[1-5]$/) },
    { title: "紧急", where: "phone", text: () => "换一位住户再试：先得到安全提示，群里卡片之外还会点名值班的人。",
      chips: () => [["电梯困人了,快来", () => emit("fill-phone", "电梯困人了,快来")]],
      done: () => said(/困/) },
  ];

  function current() {
    if (chosen >= 0) return chosen;
    const i = steps.findIndex((s) => !s.done());
    return i < 0 ? steps.length - 1 : i;
  }

  function draw() {
    const at = current();
    $("steps").replaceChildren(...steps.map((s, i) => h("li", {}, h("button", {
      type: "button", class: `step ${s.done() ? "done" : ""}`, "aria-current": i === at ? "step" : undefined,
      onclick: () => {
        chosen = i;
        show(s.where);
        draw();
      },
    }, h("span", { class: "n", "aria-hidden": "true" }, s.done() ? "✓" : String(i + 1)), s.title, s.done() ? h("span", { class: "visually-hidden" }, "（已完成）") : null))));
    const s = steps[at];
    const mark = at + s.text() + s.chips().map((c) => c[0]).join("|");
    if ($("step-now").dataset.mark === mark) return;
    $("step-now").dataset.mark = mark;
    $("step-now").replaceChildren(h("p", {}, s.text()), h("div", { class: "chips" }, ...s.chips().map(([t, f]) => h("button", {
      type: "button", class: "chip strong", onclick: () => {
        show(["已解决", "5", "谢谢"].includes(t) ? "phone" : s.where);
        f();
      },
    }, t))));
  }

  // A step just finished moves the story on, also after the visitor looked ahead.
  function settle() {
    if (chosen >= 0 && steps[chosen].done()) chosen = -1;
    draw();
  }

  on("resident", () => {
    seen.resident = [];
    seen.account = [];
    settle();
  });
  on("residents", settle);
  on("phone", ({ items }) => {
    seen.resident = items.filter((i) => i.from === "resident").map((i) => (i.text || "").trim());
    seen.account = items.filter((i) => i.from === "account").map((i) => i.text || "");
    settle();
  });
  on("group", ({ items }) => {
    seen.member = items.filter((i) => i.from?.kind === "member").map((i) => i.text || "");
    settle();
  });
  on("clicked", ({ text }) => {
    seen.clicks.push(text);
    settle();
  });
  draw();
}
