// The list of tokens: a row's changes come from changes.js; here are the filter and an admin's changes to many at once.

import { call } from "./api.js";
import { ask } from "./changes.js";
import { $, onAct, refresh, tell } from "./page.js";
import { count, reach } from "./words.js";

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

onAct({
  "revoke-picked": () => {
    const ids = picks().filter((box) => box.checked).map((box) => box.dataset.pick);
    ask({
      title: `Revoke ${count(ids.length, "token")}?`,
      text: "They stop at once for all integrations that use them, and for good.",
      facts: [],
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
  "revoke-owner": (button) => {
    const owner = button.dataset.owner;
    ask({
      title: `Revoke all tokens of ${owner}?`,
      text: "All of them stop at once and for good, also those on other pages of this list and those made meanwhile.",
      facts: [],
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
