// Calls to the API with the browser's session. A failure is a value with words for people, never an exception.

export async function call(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    return { ok: false, status: 0, data: {}, words: "The gateway can’t be reached. Look whether it was done before you try again." };
  }
  let data = {};
  try {
    data = await response.json();
  } catch {
    data = {};
  }
  return { ok: response.ok, status: response.status, data, words: response.ok ? "" : words(response.status, data) };
}

function words(status, data) {
  if (status === 401) return "Your session has ended. Open a new sign-in link in another tab, then try again here: nothing was changed, and what you wrote is kept.";
  const detail = data.detail || `The gateway answered ${status}.`;
  const fields = (data.errors || []).map((fault) => `${fault.field || "the request"} ${fault.message}`);
  return fields.length ? `${detail} ${fields.join("; ")}.` : detail;
}

// A key for a call that must not be made twice (Idempotency-Key). crypto.randomUUID needs https, this does not.
export function onceKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
