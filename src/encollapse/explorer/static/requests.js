// Requests: each kind in a lane of its own, of which the last one matters.

const client = crypto.randomUUID();
let order = 0;

async function post(path, body, signal) {
  order += 1;
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ client, order, ...body }),
    signal,
  });
  if (response.headers.get("content-type")?.startsWith("application/json")) return response.json();
  return { errors: { address: await response.text() } };
}

/** Requests of one kind, of which only the last matters.
 * Paced: one at a time, and the newest follows (sliders). Otherwise a new one ends the one before (long work). */
export class Lane {
  constructor(path, receive, paced = false) {
    Object.assign(this, { path, receive, paced, next: null, busy: false, abort: null });
  }

  ask(body) {
    if (!this.paced) {
      this.abort?.abort();
      this.abort = new AbortController();
      return this.#send(body, this.abort.signal);
    }
    this.next = body;
    return this.busy ? undefined : this.#pump();
  }

  async #pump() {
    this.busy = true;
    try {
      while (this.next) {
        const body = this.next;
        this.next = null;
        await this.#send(body);
      }
    } finally {
      this.busy = false;
    }
  }

  async #send(body, signal) {
    let answer;
    try {
      answer = await post(this.path, body, signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      answer = { errors: { address: "The explorer has been stopped. Start it again to go on." } };
    }
    if (!answer.superseded && !signal?.aborted) this.receive(answer, body);
  }
}

export async function get(path) {
  const response = await fetch(path);
  return response.json();
}
