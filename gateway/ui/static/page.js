// What every page does: tell people, read its own parts again after a change, sign out.

import { call } from "./api.js";

export const $ = (selector, within = document) => within.querySelector(selector);

// An element: make("p", {class: "hint"}, "text", child). Texts become text nodes, whatever they hold.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== null) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

// A table's cell, told with its label where a phone shows the row as a card.
export const cell = (label, ...children) => make("td", { "data-label": label || undefined }, make("span", {}, ...children));

export function tell(text) {
  $("#fault").replaceChildren();
  $("#told").replaceChildren(text ? make("p", { class: "notice good" }, text) : "");
}

export function tellFault(text) {
  $("#told").replaceChildren();
  $("#fault").replaceChildren(text ? make("p", { class: "alert" }, text) : "");
}

// Reads this page again and puts its parts in place; what people have opened or typed elsewhere stays.
export async function refresh() {
  let page;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (response.status === 401) return location.reload();
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return tellFault("The page could not be read again: reload it.");
  }
  for (const part of document.querySelectorAll("[data-part]")) {
    const fresh = $(`[data-part="${part.dataset.part}"]`, page);
    if (fresh) part.replaceWith(document.adoptNode(fresh));
  }
  document.dispatchEvent(new Event("page:fresh"));
}

// Clicks on what carries data-act="name", wherever it comes from.
export function onAct(acts) {
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-act]");
    if (target && Object.hasOwn(acts, target.dataset.act)) acts[target.dataset.act](target);
  });
}

onAct({
  "sign-out": async (button) => {
    const answer = await call("POST", "/sign-out", { everywhere: button.dataset.everywhere === "yes" });
    if (answer.ok || answer.status === 401) location.replace("/signed-out");
    else tellFault(answer.words);
  },
});

// A page that the browser kept is shown again as it was, perhaps after signing out: read it anew.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
