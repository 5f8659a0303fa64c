// The audit trail, newest first, page by page from the API.

import { call } from "./api.js";
import { $, cell, make, tellFault } from "./page.js";
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
  $("p", empty).textContent = cursor ? "None among the newest entries; look further." : "No entry matches.";
}

function row(entry) {
  const details = Object.entries(entry.details || {}).flatMap(([name, value], place) => [place ? ", " : "", make("span", { class: "hint" }, `${name}: `), ...words(value)]);
  const token = entry.token_id ? make("a", { href: `/tokens/${encodeURIComponent(entry.token_id)}` }, make("code", {}, entry.token_id)) : "";
  const number = cell("No.", make("span", { title: entry.hash }, String(entry.seq)));
  const told = cell("Details", ...details);
  number.classList.add("number");
  told.classList.add("details");
  return make(
    "tr",
    {},
    number,
    cell("When", make("time", { datetime: entry.at }, timeOf(entry.at).replace(" UTC", ""))),
    cell("Action", make("code", {}, entry.action)),
    cell("Who", make("bdi", { class: "who-did", title: entry.subject }, entry.subject || "–"), entry.via ? make("span", { class: "hint" }, entry.via) : ""),
    cell("From", entry.from ? make("span", { class: "from", title: entry.from }, entry.from) : ""),
    cell("Token", token),
    told,
    cell("Request", entry.request_id ? request(entry.request_id) : ""),
  );
}

const HASH = /^[0-9a-f]{64}$/;
const words = (value) => String(value).split(" ").flatMap((word, place) => [place ? " " : "", HASH.test(word) ? make("span", { title: word }, `${word.slice(0, 8)}…`) : make("span", { class: "word" }, word)]);

// The beginning of a request's id. A click copies the whole, or shows it where the browser does not let us.
function request(id) {
  const begins = id.length > 8 ? `${id.slice(0, 8)}…` : id;
  const button = make("button", { type: "button", class: "link copy", title: id, "aria-label": `Copy request id ${id}` }, begins);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(id);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = begins), 1500);
    } catch {
      button.replaceWith(make("code", { class: "whole", tabindex: "0" }, id));
    }
  });
  return button;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  load(true);
});
$("select", form).addEventListener("change", () => load(true));
older.addEventListener("click", () => load(false));
load(true);
