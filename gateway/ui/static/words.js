// Times and counts in words, as the server writes them.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

export function dayOf(date) {
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

export function timeOf(iso) {
  const date = new Date(iso);
  return `${dayOf(date)}, ${date.toISOString().slice(11, 16)} UTC`;
}

export function seen(iso, now = Date.now()) {
  const away = now - Date.parse(iso);
  if (away < 5000) return "just now";
  if (away < 60e3) return `${count(Math.floor(away / 1e3), "second")} ago`;
  if (away < 3600e3) return `${count(Math.floor(away / 60e3), "minute")} ago`;
  if (away < 48 * 3600e3) return `${count(Math.floor(away / 3600e3), "hour")} ago`;
  return `${count(Math.floor(away / 86400e3), "day")} ago`;
}

// How far a change has got (nodes, nodes_confirmed): it holds everywhere in any case.
export function reach(answer, what) {
  const { nodes = 0, nodes_confirmed: confirmed = 0 } = answer;
  if (!nodes) return `${what} everywhere.`;
  if (nodes === confirmed) return `${what} everywhere: ${nodes === 1 ? "the node has" : `all ${nodes} nodes have`} confirmed.`;
  return `${what} everywhere: ${confirmed} of ${nodes} nodes confirmed, the rest had stopped deciding from memory.`;
}
