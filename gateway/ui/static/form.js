// The form New Token. The API judges what is typed; its words go beside the fields.

import { call, onceKey } from "./api.js";
import { showOnce } from "./once.js";
import { $, make } from "./page.js";
import { dayOf } from "./words.js";

const form = $("#new-token");
const expiry = $("#expiry");
const FIELDS = { name: "name", expires_in_days: "expiry", grants: "grants", description: "description", allowed_ips: "allowed" };
let key = onceKey();

function showDate() {
  const days = /^\d{1,5}$/.test(expiry.value.trim()) ? Number(expiry.value) : 0;
  const most = Number(form.dataset.max);
  $("#expiry-date").textContent = days >= 1 && days <= most ? `until ${dayOf(new Date(Date.now() + days * 86400e3))}` : `1 to ${most} days`;
}
expiry.addEventListener("input", showDate);
showDate();

form.addEventListener("change", (event) => {
  if (event.target.name === "access") $("#scopes").hidden = event.target.value === "full";
  if (event.target.id === "replaces") {
    const end = $("#end-replaced");
    end.disabled = !event.target.checked;
    end.checked &&= event.target.checked;
  }
});
form.addEventListener("input", () => (key = onceKey())); // another wish, another key

// A number where it is one; else what was typed, for the API to say what is wrong with it.
const number = (text) => (/^-?\d+$/.test(text.trim()) ? Number(text) : text);

function wanted() {
  const full = $("#full").checked;
  const body = { name: $("#name").value, expires_in_days: number(expiry.value), access: full ? "full" : "custom" };
  if (!full) {
    body.grants = [...form.querySelectorAll(".scope")]
      .map((scope) => [scope.dataset.scope, $("input:checked", scope)?.value])
      .filter(([, level]) => level && level !== "none")
      .map(([scope, level]) => `${scope}:${level}`);
  }
  if (form.dataset.owner) body.owner = form.dataset.owner;
  if ($("#description").value.trim()) body.description = $("#description").value;
  const allowed = $("#allowed").value.split(/[\s,]+/).filter(Boolean);
  if (allowed.length) body.allowed_ips = allowed;
  if ($("#replaces")?.checked) {
    body.replaces = form.dataset.like;
    if ($("#end-replaced").checked) body.end_replaced = true;
  }
  return body;
}

function showFaults(answer) {
  for (const fault of form.querySelectorAll(".field-fault")) fault.textContent = "";
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  const rest = [];
  let first = null;
  for (const { field, message } of answer.data.errors || []) {
    const id = FIELDS[field];
    if (!id) {
      rest.push(`${field || "the request"} ${message}`);
      continue;
    }
    const words = $(`#${id}-fault`);
    words.textContent = words.textContent ? `${words.textContent}; ${message}` : sentence(message);
    const input = id === "grants" ? $("#scopes input:checked") : $(`#${id}`);
    if (id !== "grants") input.setAttribute("aria-invalid", "true");
    if (id === "description" || id === "allowed") $(".more").open = true;
    first ??= input;
  }
  const told = $("#form-fault");
  const lost = answer.data.code === "already_done";
  const words = lost ? "The token was made already, but its answer was lost on the way: regenerate it in the list." : rest.length || !first ? answer.words : "";
  told.textContent = words;
  told.hidden = !words;
  (first ?? told).focus();
}

const sentence = (message) => message.charAt(0).toUpperCase() + message.slice(1) + ".";

// A GET that the token may make, to try it with.
function firstLine(body) {
  const held = new Set((body.grants || []).map((grant) => grant.split(":")[0]));
  const scope = [...form.querySelectorAll(".scope[data-example]")].find((one) => (body.grants ? held.has(one.dataset.scope) : one.dataset.most !== "none"));
  return scope && form.dataset.gateway ? `curl -i -H "Authorization: Bearer $TOKEN" "${form.dataset.gateway}${scope.dataset.example}"` : "";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("[type=submit]", form);
  const body = wanted();
  button.disabled = true;
  const answer = await call("POST", "/tokens", body, { "Idempotency-Key": key });
  button.disabled = false;
  if (!answer.ok) {
    if (answer.status >= 400 && answer.status < 500 && answer.data.code !== "already_done") key = onceKey();
    return showFaults(answer);
  }
  const { token, secret } = answer.data;
  $("#asked").remove();
  const made = $("#made");
  made.hidden = false;
  $("#made-name").replaceChildren(token.name, make("span", { class: "hint" }, ` until ${dayOf(new Date(token.expires_at))}`));
  const firstUse = { line: firstLine(body), token: token.id, since: Date.parse(token.created_at) };
  showOnce($("[data-once]", made), secret, firstUse, () => location.replace(form.dataset.back));
  $("#made-title").focus();
});

// Until here nobody listens: a click that comes before would send the form as a browser by itself does, to nobody.
$("[type=submit]", form).disabled = false;
