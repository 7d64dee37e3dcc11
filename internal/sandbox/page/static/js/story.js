// The story a first visitor can follow. A step counts as done when its words were
// really said in one of the chats; nothing is sent on the visitor's behalf except
// following the account.

import { emit, on } from "./api.js";
import { $, h } from "./dom.js";
import { bindText } from "./phone.js";
import { isCommand } from "./group.js";

const number = /#\d{6,9}/;
const spoken = /#\d{6,9}\s+(?!备注)\S/;

export function story(state, show) {
  const seen = { resident: [], account: [], member: [], clicks: [], bot: [], cards: [], sms: [], asked: false };
  const heard = new Map(); // what was said in every group, opened here or not, by group and seq
  let chosen = -1;

  const said = (re) => seen.resident.some((t) => re.test(t));
  // What members said about a case of this resident, in whatever group.
  const mine = (t) => seen.account.some((a) => (a.match(/#\d{6,9}/g) || []).some((n) => t.includes(n)));
  const told = (re) => [...seen.member, ...[...heard.values()].filter((i) => i.from?.kind === "member").map((i) => i.text || "").filter(mine)].some((t) => re.test(t) && !(re === spoken && isCommand(t, state.bot)));
  const claimed = () => [...heard.values()].some((i) => i.card && mine(i.card.title || "") && !(i.card.buttons || []).some((b) => b.text === "接单"));
  const no = () => state.groupCase || state.caseNo;
  const hash = () => "#" + (no() || "工单号");
  // The outage of steps 9 to 13, and when its water is promised back: three hours
  // from the simulated clock, tomorrow when that is past midnight.
  const outage = () => /T\d{4,}/.exec(seen.cards.find((t) => /停水/.test(t)) || "")?.[0] || "T0001";
  const back = () => {
    const now = state.now ? new Date(state.now) : new Date();
    const at = new Date(now.getTime() + 3 * 3600e3);
    const hm = at.toLocaleTimeString("zh-CN", { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: "Asia/Shanghai" });
    const day = (d) => d.toLocaleDateString("zh-CN", { timeZone: "Asia/Shanghai" });
    return (day(at) === day(now) ? "" : "明天") + hm;
  };
  const typed = (re) => seen.member.some((t) => re.test(t));
  const answered = (re) => seen.bot.some((t) => re.test(t));

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
      done: () => seen.clicks.includes("接单") || claimed() || told(/接单\s*#\d/) },
    { title: "答复住户", where: "group", text: () => "带上工单号的话才会发给住户，五秒内还能撤回。不 @ 机器人、不带号的话只留在群里。",
      chips: () => [[`@${state.bot} ${hash()} 师傅十分钟到`, () => emit("fill-group", `${hash()} 师傅十分钟到`)]],
      done: () => told(spoken) },
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
    { title: "发停水通知", where: "group", text: () => "请值班经理（杨光）在群里写一句话。机器人先给出住户会看到的全文，再给一张卡片：多少户、多少号码、多少人关注、多少钱、还缺什么。",
      chips: () => [[`@${state.bot} 通知 突发停水 3栋,4栋 主管爆裂抢修 预计${back()}恢复`, () => emit("fill-group", `通知 突发停水 3栋,4栋 主管爆裂抢修 预计${back()}恢复`)]],
      done: () => seen.cards.some((t) => /T\d{4,}.*停水/.test(t)) },
    { title: "确认发送", where: "group", text: () => "点卡片上的「确认发送」，或者在群里说。换一位没有权限的同事点，什么也不会发出，并说明谁能点。短信和模板消息各发一次，有两套房的业主也只收一次。",
      chips: () => [[`@${state.bot} 确认发送`, () => emit("fill-group", "确认发送")], [`@${state.bot} 进度 ${outage()}`, () => emit("fill-group", `进度 ${outage()}`)]],
      done: () => answered(/T\d{4,}.*已由.+确认/) || seen.cards.some((t) => /正在发送|发送中|已完成|已发完/.test(t)) || seen.clicks.includes("确认发送") },
    { title: "回执与电话名单", where: "group", text: () => "右边的短信陆续变成「已送达」。想看送不到的住户，先在「故障演练」里让某个号码的回执失败。没通知到的住户排成电话名单，打完一户勾一户。",
      chips: () => [[`@${state.bot} 电话名单 ${outage()}`, () => emit("fill-group", `电话名单 ${outage()}`)]],
      done: () => typed(/电话名单/) || answered(/已发完/) },
    { title: "住户来问", where: "phone", text: () => "选一位 3 栋的住户问一声，直接得到通知里的原因和恢复时间；换 5 栋的住户问，通知管不到，就成了一张工单。",
      chips: () => [["怎么没水", () => emit("fill-phone", "怎么没水")]],
      done: () => said(/没水|停水/) },
    { title: "恢复供水", where: "group", text: () => "水来了，同一批人都会收到恢复通知，一个不多，一个不少。",
      chips: () => [[`@${state.bot} 通知 恢复 ${outage()}`, () => emit("fill-group", `通知 恢复 ${outage()}`)], [`@${state.bot} 确认发送`, () => emit("fill-group", "确认发送")]],
      done: () => typed(/通知\s*恢复/) && (answered(/恢复.*已由.+确认/s) || seen.cards.some((t) => /恢复/.test(t))) },
    { title: "从控制台再发", where: "sms", text: () => "同样的通知也能从控制台的「通知」页面发，边写边看短信全文、户数和费用，发出后进度条每秒在走；命令行和接口也一样。控制台地址、用户名和密码在启动时打印的那一行里。看右边有没有新的短信。",
      chips: () => [["看短信", () => show("sms")]],
      done: () => seen.sms.some((t) => /停气|停电|停暖|台风|作业/.test(t)) },
    { title: "办结回访", where: "phone", text: () => "工单一办结就问满不满意：聊天窗口还开着就在聊天里问，关了就发模板消息，没关注公众号的发短信，在右边回「4 师傅很准时」就是他的评价。住户说「部分解决」，工单回到队列；打 2 分，专人限时跟进，群里都有卡片。",
      chips: () => [["部分解决", () => emit("fill-phone", "部分解决")], ["2 来了两次才修好", () => emit("fill-phone", "2 来了两次才修好")], ["看短信", () => show("sms")]],
      done: () => said(/^(部分解决|[1-5]\s+\S)/) || seen.sms.some((t) => /服务回访：/.test(t)) },
    { title: "发起半年调查", where: "sms", text: () => "请客服经理在控制台的「满意度」里点「发起调查」：先看多少人用模板消息问，多少人用短信问，多少人不问、为什么。批准以后，邀请只在 9 点到 20 点之间发出；现在太晚或太早，就用上面的时钟往前走。",
      chips: () => [["看短信", () => show("sms")]],
      done: () => seen.sms.some((t) => /服务回访（/.test(t)) || seen.asked },
    { title: "住户来答", where: "phone", text: () => "选一位已关注的住户，点开「服务评价邀请」，大字，一行一题，填完还能回来改；一家人只算一份。另换一位住户，在聊天里直接回数字，一题一题往下；没关注的在右边用短信回一个数字。",
      chips: () => [["5", () => emit("fill-phone", "5")], ["结束", () => emit("fill-phone", "结束")]],
      done: () => seen.account.some((t) => /第 \d+\/\d+ 题/.test(t)) },
    { title: "提醒一次，看结果", where: "sms", text: () => "用上面的时钟往前走三天：没有回答的人只提醒一次，答过的一个也不打扰。结果在控制台的「满意度」里：满意率、满意度、回答率，按类别、楼栋、月份，带 95% 区间和份数，点开每一条能看住户的话，能下载 Excel，能打印。",
      chips: () => [["看短信", () => show("sms")]],
      done: () => seen.sms.some((t) => /服务回访提醒/.test(t)) },
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
        show(["已解决", "5", "谢谢", "结束"].includes(t) ? "phone" : s.where);
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
    // The invitation to a survey; the question about a single case names a number.
    seen.asked ||= items.some((i) => i.kind === "template" && /\/h5\/s\//.test(i.url || "") && !number.test(Object.values(i.fields || {}).join(" ")));
    settle();
  });
  on("group", ({ items }) => {
    seen.member = items.filter((i) => i.from?.kind === "member").map((i) => i.text || "");
    seen.bot = items.filter((i) => i.from?.kind === "bot" && !i.card).map((i) => i.text || "");
    seen.cards = items.filter((i) => i.card && /T\d{4,}/.test(i.card.title || "")).map((i) => `${i.card.title} ${i.card.desc || ""}`);
    settle();
  });
  on("heard", ({ chatid, items }) => {
    for (const i of items) heard.set(`${chatid}|${i.seq}`, i);
    settle();
  });
  on("sms", ({ items }) => {
    seen.sms = items.map((i) => i.text || "");
    settle();
  });
  on("clicked", ({ text }) => {
    seen.clicks.push(text);
    settle();
  });
  draw();
}
