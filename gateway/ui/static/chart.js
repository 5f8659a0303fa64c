// Thirty days as bars: requests, and refused ones on top of them. Sizes are attributes, for a strict policy allows no inline style.

import { make } from "./page.js";
import { dayOf } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const HIGH = 88;
const STEP = 20;

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A round number at or above the highest day.
function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 1.2, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((top) => top >= most);
}

export function chart(days, words) {
  const top = ceiling(Math.max(...days.map((day) => day.requests + day.refused), 1));
  const wide = days.length * STEP;
  const bars = days.flatMap(({ day, requests, refused }, index) => {
    const well = (requests / top) * HIGH;
    const ill = (refused / top) * HIGH;
    const x = index * STEP + 3;
    const tip = `${dayOf(new Date(day))}: ${requests} requests, ${refused} refused`;
    return [
      draw("rect", { x, y: HIGH - well, width: STEP - 6, height: well, rx: 1.5, class: "bar" }, draw("title", {}, tip)),
      draw("rect", { x, y: HIGH - well - ill, width: STEP - 6, height: ill, rx: 1.5, class: "bar ill" }, draw("title", {}, tip)),
    ];
  });
  const frame = [0, HIGH / 2].map((y) => draw("line", { x1: 0, x2: wide, y1: y + 0.5, y2: y + 0.5, class: "grid" }));
  const ground = draw("line", { x1: 0, x2: wide, y1: HIGH + 0.5, y2: HIGH + 0.5, class: "ground" });
  const picture = draw("svg", { viewBox: `0 -2 ${wide} ${HIGH + 4}`, role: "img", "aria-label": `Requests by day: ${words}`, class: "chart", preserveAspectRatio: "none" }, ...frame, ...bars, ground);
  const ends = make("p", { class: "ends" }, make("span", {}, dayOf(new Date(days[0].day))), make("span", {}, `top line: ${top.toLocaleString("en")} a day`), make("span", {}, dayOf(new Date(days.at(-1).day))));
  return make("div", {}, picture, ends);
}
