// A token's page: usage, unused scopes, refusals; and its new name. Where this gateway keeps no figures the sections stay away.

import { call } from "./api.js";
import "./changes.js";
import { chart } from "./chart.js";
import { $, cell, make, onAct, refresh, tell } from "./page.js";
import { count, dayOf, seen, timeOf } from "./words.js";

const id = () => $("[data-part=token]").dataset.id;
const like = (more) => `/tokens/new?like=${id()}&${new URLSearchParams(more)}`;

async function figures() {
  const [usage, denials] = await Promise.all([call("GET", `/tokens/${id()}/usage`), call("GET", `/tokens/${id()}/denials`)]);
  if (usage.ok) showUsage(usage.data);
  if (denials.ok) showDenials(denials.data.items);
}

function showUsage({ days, routes, scopes, unused_scopes: unused, narrowed_grants: narrowed }) {
  $("#usage").hidden = false;
  const total = days.reduce((sum, day) => sum + day.requests, 0);
  const refused = days.reduce((sum, day) => sum + day.refused, 0);
  const words = total || refused ? `${count(total, "request")}, ${count(refused, "refusal")}` : "No request in the last 30 days.";
  $("#chart").replaceChildren(make("p", { class: "total" }, words), total || refused ? chart(days, words) : "");
  const rows = routes.map((route) => [make("code", {}, route.route), `${titleOf(route.scope)} ${route.access}`, route.requests.toLocaleString("en"), dayOf(new Date(route.last_day))]);
  if (rows.length) $("#routes").replaceChildren(table(["Route", "Scope", "Requests", "Last day"], rows));
  for (const row of document.querySelectorAll("tr[data-scope]")) {
    const used = scopes.find((scope) => scope.scope === row.dataset.scope);
    const parts = used ? [used.view && `${used.view.toLocaleString("en")} view`, used.manage && `${used.manage.toLocaleString("en")} manage`].filter(Boolean) : [];
    $("[data-used]", row).textContent = parts.join(", ") || "not used";
  }
  const viewed = [...document.querySelectorAll("tr[data-access=manage]")].map((row) => row.dataset.scope).filter((scope) => narrowed.includes(`${scope}:view`));
  if (narrowed.length && (unused.length || viewed.length)) {
    const needless = [["Not used", unused], ["Only viewed", viewed]].filter(([, scopes]) => scopes.length).map(([how, scopes]) => `${how} in 30 days: ${scopes.map(titleOf).join(", ")}.`);
    const link = make("a", { class: "button", href: like({ grants: narrowed.join(","), replace: 1 }) }, "Narrow it to what was used");
    $("#unused").replaceChildren(make("p", { class: "hint" }, `${needless.join(" ")} Access can’t be edited; a new token like this can ask for less.`), link);
  }
}

const titleOf = (scope) => $(`tr[data-scope="${CSS.escape(scope)}"] td`)?.textContent ?? scope;

function showDenials(items) {
  $("#denials").hidden = false;
  if (!items.length) return $("#refused").replaceChildren(make("p", { class: "hint" }, "None."));
  const rows = items.map((item) => {
    const missing = item.missing || [];
    const reason = make("span", {}, make("code", {}, item.code), missing.length ? ` needs ${missing.join(", ")}` : "");
    const mend = item.code === "scope_missing" && missing.length ? make("a", { class: "button small", href: like({ add: missing.join(","), replace: 1 }) }, "New token with it") : "";
    return [make("time", { datetime: item.at, title: timeOf(item.at) }, seen(item.at)), make("code", {}, `${item.method} ${item.path}`), String(item.status), reason, item.client || "", mend];
  });
  $("#refused").replaceChildren(table(["When", "Request", "Status", "Reason", "From", ""], rows));
}

function table(titles, rows) {
  const head = titles.map((title) => (title ? make("th", { scope: "col" }, title) : make("td", {})));
  const body = rows.map((row) => make("tr", {}, ...row.map((content, column) => cell(titles[column], content))));
  return make("div", { class: "table cards", tabindex: "0", role: "region", "aria-label": titles.slice(0, 2).join(", ") }, make("table", { class: "plain-table" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)));
}

const renaming = $("#renaming");
onAct({ rename: () => renaming.showModal() });
$("[data-cancel]", renaming).addEventListener("click", () => renaming.close());
$("#rename-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await call("PATCH", `/tokens/${id()}`, { name: $("#new-name").value, description: $("#new-description").value });
  const fault = $("#rename-fault");
  const beside = { name: $("#new-name-fault"), description: $("#new-description-fault") };
  for (const field of Object.values(beside)) field.textContent = "";
  fault.hidden = true;
  if (!answer.ok) {
    for (const { field, message } of answer.data.errors || []) if (beside[field]) beside[field].textContent = message;
    if (!(answer.data.errors || []).length) {
      fault.textContent = answer.words;
      fault.hidden = false;
    }
    return;
  }
  renaming.close();
  await refresh();
  tell("Saved.");
});

document.addEventListener("page:fresh", figures);
figures();
