// Regenerate, revoke, suspend, resume: what is said before, what is done, what is said after. Alike in the list and on a token's page.

import { call, onceKey } from "./api.js";
import { showOnce } from "./once.js";
import { $, make, onAct, refresh, tell, tellFault } from "./page.js";
import { count, reach, seen, timeOf } from "./words.js";

// A question with facts. `act` does it and returns "" where all went well, else what went wrong.
export function ask({ title, text, facts, go, danger, act }) {
  const dialog = $("#ask");
  const button = $("#ask-go");
  const fault = $("#ask-fault");
  $("#ask-title").textContent = title;
  $("#ask-text").textContent = text;
  fault.hidden = true;
  button.textContent = go;
  button.className = danger ? "danger" : "main";
  button.disabled = false;
  showFacts(facts);
  button.onclick = async () => {
    button.disabled = true;
    const wrong = await act();
    button.disabled = false;
    fault.hidden = !wrong;
    fault.textContent = wrong;
    if (!wrong) dialog.close();
  };
  dialog.showModal();
}

function showFacts(facts) {
  $("#ask-facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

// When, how often and from where a token was last used. Figures that this gateway does not keep are left out.
async function uses(id) {
  const [shown, usage] = await Promise.all([call("GET", `/tokens/${id}`), call("GET", `/tokens/${id}/usage`)]);
  if (!shown.ok) return { name: "", facts: [], words: shown.words };
  const token = shown.data.token;
  const at = token.last_used_at;
  const facts = [["Last used", at ? `${seen(at)} (${timeOf(at)})` : "never"]];
  if (token.last_used_from) facts.push(["From", token.last_used_from]);
  if (usage.ok) facts.push(["In 30 days", count(usage.data.days.reduce((sum, day) => sum + day.requests, 0), "request")]);
  return { token, name: token.name, facts, words: "" };
}

async function asking(target, question) {
  const id = target.closest("[data-id]").dataset.id;
  const known = await uses(id);
  if (known.words) return tellFault(known.words);
  ask(question(id, known));
}

const regenerate = (id, { name, facts, token }) => {
  const key = onceKey();
  return {
    title: "Regenerate this token?",
    text: `The present token of “${name}” stops at once for all integrations that use it. Name, access and expiry stay.`,
    facts,
    go: "Regenerate",
    danger: true,
    act: async () => {
      const answer = await call("POST", `/tokens/${id}/regenerate`, {}, { "Idempotency-Key": key });
      if (!answer.ok) return answer.status === 409 && answer.data.code === "already_done" ? "It was regenerated already, and its answer was lost: close this and regenerate once more." : answer.words;
      const dialog = $("#once");
      const since = Date.parse(answer.data.token.regenerated_at) || Date.now();
      const forget = showOnce($("[data-once]", dialog), answer.data.secret, { line: "", token: token.last_used_at ? "" : id, since }, () => {
        dialog.onclose = null;
        dialog.close();
        refresh();
      });
      $(".quiet-status", dialog).textContent = reach(answer.data, "The old token has stopped");
      dialog.onclose = forget;
      dialog.showModal();
      return "";
    },
  };
};

const ending = (method, tail, words) => (id, { name, facts }) => ({
  ...words(name),
  facts,
  act: async () => {
    const answer = await call(method, `/tokens/${id}${tail}`, method === "POST" ? {} : undefined);
    if (!answer.ok) return answer.words;
    await refresh();
    tell(reach(answer.data, `“${name}” has stopped`));
    return "";
  },
});

const revoke = ending("DELETE", "", (name) => ({
  title: "Revoke this token?",
  text: `“${name}” stops at once for all integrations that use it, and for good.`,
  go: "Revoke",
  danger: true,
}));

const suspend = ending("POST", "/suspend", (name) => ({
  title: "Suspend this token?",
  text: `“${name}” stops at once for all integrations that use it, until you resume it. Its expiry goes on.`,
  go: "Suspend",
  danger: false,
}));

onAct({
  regenerate: (button) => asking(button, regenerate),
  revoke: (button) => asking(button, revoke),
  suspend: (button) => asking(button, suspend),
  resume: async (button) => {
    const answer = await call("POST", `/tokens/${button.closest("[data-id]").dataset.id}/resume`, {});
    if (!answer.ok) return tellFault(answer.words);
    await refresh();
    tell(`“${answer.data.token.name}” works again.`);
  },
});
