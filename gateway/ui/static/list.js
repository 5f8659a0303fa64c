// The list of tokens: a row's changes come from changes.js; here are the filter and an admin's changes to many at once.

import { call } from "./api.js";
import { ask } from "./changes.js";
import { $, onAct, refresh, tell } from "./page.js";
import { count, reach, seen, timeOf } from "./words.js";

$(".filter select").addEventListener("change", (event) => event.target.form.requestSubmit());
$(".filter").addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});

const picks = () => [...document.querySelectorAll("[data-pick]:not(:disabled)")];

document.addEventListener("change", (event) => {
  if (event.target.id === "pick-all") for (const box of picks()) box.checked = event.target.checked;
  if (event.target.matches("#pick-all, [data-pick]")) showPicked();
});

function showPicked() {
  const picked = picks().filter((box) => box.checked).length;
  $("#picked").textContent = picked ? `${count(picked, "token")} selected` : "None selected";
  $("[data-act=revoke-picked]").disabled = !picked;
}

const LATELY_DAYS = 7;

// What ending these tokens stops: how many live, how many of them were used lately, and the last use of all.
function reached(tokens) {
  const living = tokens.filter((token) => ["active", "suspended"].includes(token.state));
  const paused = living.filter((token) => token.state === "suspended").length;
  const used = living.filter((token) => token.last_used_at).sort((one, other) => Date.parse(other.last_used_at) - Date.parse(one.last_used_at));
  const lately = used.filter((token) => Date.now() - Date.parse(token.last_used_at) < LATELY_DAYS * 86400e3).length;
  const facts = [
    ["Living", living.length ? `${count(living.length, "token")}${paused ? `, ${paused} of them suspended` : ""}` : "none"],
    [`Used in ${LATELY_DAYS} days`, lately ? count(lately, "token") : "none"],
  ];
  if (!used.length) return [...facts, ["Last use", "never"]];
  const [{ name, last_used_at: at, last_used_from: from }] = used;
  return [...facts, ["Last use", `${seen(at)} (${timeOf(at)}), by “${name}”${from ? ` from ${from}` : ""}`]];
}

// The facts of tokens that are read by `read`. Who must end them at once is let on without.
async function reachedBy(read) {
  const { tokens, words } = await read();
  return words ? [["Reach", `can’t be told: ${words}`]] : reached(tokens);
}

async function each(ids) {
  const answers = await Promise.all(ids.map((id) => call("GET", `/tokens/${id}`)));
  return { tokens: answers.map((answer) => answer.data.token), words: answers.find((answer) => !answer.ok)?.words };
}

async function all(owner) {
  const tokens = [];
  for (let cursor = "", more = true; more; more = Boolean(cursor)) {
    const answer = await call("GET", `/tokens?${new URLSearchParams({ owner, limit: 500, cursor })}`);
    if (!answer.ok) return { tokens, words: answer.words };
    tokens.push(...answer.data.items);
    cursor = answer.data.next;
  }
  return { tokens, words: "" };
}

onAct({
  "revoke-picked": async () => {
    const ids = picks().filter((box) => box.checked).map((box) => box.dataset.pick);
    ask({
      title: `Revoke ${count(ids.length, "token")}?`,
      text: "They stop at once for all integrations that use them, and for good.",
      facts: await reachedBy(() => each(ids)),
      go: "Revoke",
      danger: true,
      act: async () => {
        let done = 0;
        for (const id of ids) {
          const answer = await call("DELETE", `/tokens/${id}`);
          if (!answer.ok) return `${count(done, "token")} revoked, then: ${answer.words}`;
          done += 1;
        }
        await refresh();
        tell(`${count(done, "token")} revoked.`);
        return "";
      },
    });
  },
  "revoke-owner": async (button) => {
    const owner = button.dataset.owner;
    ask({
      title: `Revoke all tokens of ${owner}?`,
      text: "All of them stop at once and for good, also those on other pages of this list and those made meanwhile.",
      facts: await reachedBy(() => all(owner)),
      go: "Revoke all",
      danger: true,
      act: async () => {
        const answer = await call("POST", "/owners/revoke", { owner });
        if (!answer.ok) return answer.words;
        await refresh();
        tell(reach(answer.data, `${count(answer.data.revoked.length, "token")} of ${owner} revoked; they have stopped`));
        return "";
      },
    });
  },
});
