// The audit trail, newest first, page by page from the API.

import { call } from "./api.js";
import { $, make, tellFault } from "./page.js";
import { timeOf } from "./words.js";

const form = $("#audit-filter");
const rows = $("#entries tbody");
const older = $("#older");
const empty = $("#no-entries");
let cursor = "";

async function load(fresh) {
  if (fresh) cursor = "";
  const asked = new URLSearchParams([...new FormData(form), ["cursor", cursor], ["limit", "50"]].filter(([, value]) => value));
  const answer = await call("GET", `/audit?${asked}`);
  if (fresh) rows.replaceChildren();
  older.hidden = true;
  if (!answer.ok) {
    empty.hidden = answer.status !== 404;
    $("p", empty).textContent = "This gateway keeps no audit trail.";
    return answer.status === 404 ? undefined : tellFault(answer.words);
  }
  tellFault("");
  rows.append(...answer.data.items.map(row));
  cursor = answer.data.next || "";
  older.hidden = !cursor;
  empty.hidden = rows.childElementCount > 0;
  $("p", empty).textContent = "No entry matches.";
}

function row(entry) {
  const details = Object.entries(entry.details || {}).map(([name, value]) => `${name}: ${value}`);
  const token = entry.token_id ? make("a", { href: `/tokens/${encodeURIComponent(entry.token_id)}` }, make("code", {}, entry.token_id)) : "";
  return make(
    "tr",
    {},
    make("td", { class: "number", title: entry.hash }, String(entry.seq)),
    make("td", {}, make("time", { datetime: entry.at }, timeOf(entry.at))),
    make("td", {}, make("code", {}, entry.action)),
    make("td", {}, make("bdi", {}, entry.subject || "–"), entry.via ? make("span", { class: "hint" }, ` ${entry.via}`) : ""),
    make("td", {}, entry.from || ""),
    make("td", {}, token),
    make("td", { class: "details" }, details.join(", ")),
    make("td", {}, make("code", { class: "hint" }, entry.request_id || "")),
  );
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  load(true);
});
$("select", form).addEventListener("change", () => load(true));
older.addEventListener("click", () => load(false));
load(true);
