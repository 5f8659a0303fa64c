// A secret on the page, once: put in here, and taken out by Close and whenever the page is left, so that no history and no kept page holds it.

import { call } from "./api.js";
import { $, make } from "./page.js";
import { timeOf } from "./words.js";

const POLL_MS = 1500;

// Shows the secret in `place`. `firstUse` is {line, token, since}: a curl line ("" for none), and the token whose first request since then is waited for.
// `done` is called once the secret is gone. Returns what takes it away.
export function showOnce(place, secret, firstUse, done) {
  place.replaceChildren($("#secret-shown").content.cloneNode(true));
  const code = $("code", place.querySelector(".secret"));
  code.textContent = secret;
  let kept = secret;
  let watching = true;

  const wipe = () => {
    watching = false;
    kept = "";
    code.textContent = "";
    place.replaceChildren();
    window.removeEventListener("pagehide", wipe);
  };
  const forget = () => {
    if (!watching) return;
    wipe();
    done();
  };
  window.addEventListener("pagehide", wipe);
  $("[data-close]", place).addEventListener("click", forget);

  const status = $(".quiet-status", place);
  $("[aria-label=Copy]", place).addEventListener("click", async () => {
    status.textContent = (await copied(kept, code)) ? "Copied." : "The browser does not let us copy: the token is selected, press Ctrl+C.";
  });

  if (firstUse.line) {
    $(".first-use", place).hidden = false;
    $(".line", place).textContent = firstUse.line;
  }
  if (firstUse.token) watch($(".watch", place), firstUse, () => watching);
  return forget;
}

async function copied(text, shown) {
  const range = document.createRange();
  range.selectNodeContents(shown);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return document.execCommand("copy"); // without https, or in a frame that may not use the clipboard
  }
}

// Turns green at the token's first request, or names the refusal that it met.
async function watch(line, { token, since }, goesOn) {
  line.hidden = false;
  line.textContent = "Waiting for its first request…";
  let told = "";
  while (goesOn()) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (!goesOn() || document.hidden) continue;
    const [shown, denials] = await Promise.all([call("GET", `/tokens/${token}`), call("GET", `/tokens/${token}/denials`)]);
    if (!goesOn()) return;
    const used = shown.ok ? shown.data.token.last_used_at : null;
    if (used && Date.parse(used) >= since) {
      line.className = "watch works";
      line.textContent = `It works: the first request came ${timeOf(used)}${shown.data.token.last_used_from ? ` from ${shown.data.token.last_used_from}` : ""}.`;
      return;
    }
    const refused = (denials.ok ? denials.data.items : []).find((item) => Date.parse(item.at) >= since);
    if (refused && told !== refused.request_id) {
      told = refused.request_id;
      line.className = "watch refused";
      const missing = refused.missing && refused.missing.length ? `, it needs ${refused.missing.join(", ")}` : "";
      line.replaceChildren(make("b", {}, "Refused: "), `${refused.method} ${refused.path} was answered ${refused.status} ${refused.code}${missing}. Still waiting…`);
    }
  }
}
