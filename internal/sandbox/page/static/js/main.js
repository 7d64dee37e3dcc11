import { on } from "./api.js";
import { $, arrows } from "./dom.js";
import { phonePane } from "./phone.js";
import { groupPane } from "./group.js";
import { smsPane } from "./sms.js";
import { tools } from "./tools.js";
import { story } from "./story.js";

const state = { resident: null, caseNo: "", groupCase: "", bot: "管家", world: null, now: null };
const names = ["phone", "group", "sms"];

const phone = phonePane(state);
const group = groupPane(state);
const sms = smsPane(state);
const bar = tools(state, () => phone.reload());

// show brings a pane to the front where only one fits.
function show(name) {
  for (const n of names) {
    const on = n === name;
    $("pane-" + n).toggleAttribute("data-active", on);
    const tab = $("tab-" + n);
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    if (on) tab.querySelector(".dot").hidden = true;
  }
}

function news(name) {
  if (!$("pane-" + name).hasAttribute("data-active")) $("tab-" + name).querySelector(".dot").hidden = false;
}

for (const n of names) $("tab-" + n).addEventListener("click", () => show(n));
arrows(document.querySelector(".tabs"));
for (const b of document.querySelectorAll("[data-close]")) b.addEventListener("click", () => b.closest("dialog").close());
for (const d of document.querySelectorAll("dialog")) {
  d.addEventListener("click", (e) => e.target === d && d.close());
}

let again = 0;
on("gone", () => {
  clearTimeout(again);
  again = setTimeout(() => {
    group.load();
    phone.reload();
  }, 1000);
});
on("offline", (is) => ($("offline").hidden = !is));
on("phone", (e) => e.news && !e.first && news("phone"));
on("group", (e) => e.news && !e.first && news("group"));
on("group-unread", (n) => n && news("group"));
on("sms", (e) => !e.first && news("sms"));
on("fill-phone", () => show("phone"));
on("fill-group", () => show("group"));
on("world", (w) => {
  const a = w.accounts?.[0];
  if (a?.name) $("account-name").textContent = a.name;
});

story(state, show);
bar.load();
group.load();
phone.load();
sms.load();
