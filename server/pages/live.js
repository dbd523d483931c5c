import { language, t } from './texts.js';

const PING_MS = 20_000;
const WELCOME_MS = 10_000;
const COMMAND_MS = 20_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;

/** A refusal; `problem` is the RFC 9457 body. */
export class LiveProblem extends Error {
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Outside a secure context (plain http on a LAN address) only getRandomValues is there.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
}

const unanswered = (code, title) => new LiveProblem({ code, title, detail: t('It may or may not have been done.') });
const jittered = (ms) => ms * (1 + Math.random() / 4);

/**
 * One professional's slots, kept current over one WebSocket.
 *
 * Events, with their `detail`: `status` {status, reason}; `slots` {reset} or {changed: start → {before, after}};
 * `problem`, why a subscription was refused. Status: connecting, live, moving (what is shown may be behind), waiting
 * (to reconnect), refused, closed.
 */
export class LiveCalendar extends EventTarget {
  slots = new Map();
  version = null;
  status = 'closed';

  #url;
  #what;
  #range = null;
  #socket = null;
  #ready = false;
  #view = null;
  #subscription = null;
  #needsSnapshot = true;
  #pending = new Map();
  #serial = 0;
  #tries = 0;
  #goodbyeMs = null;
  #heard = true;
  #reconnecting;
  #welcoming;
  #pinging;

  constructor({ professionalId, serviceId, timeZone, url = '/api/v1/live' }) {
    super();
    this.#url = new URL(url, location.href.replace(/^http/, 'ws'));
    this.#url.searchParams.set('lang', language);
    this.#what = { professional_id: professionalId, service_id: serviceId };
    this.timeZone = timeZone;
  }

  connect() {
    if (this.#socket) return;
    clearTimeout(this.#reconnecting);
    this.#setStatus('connecting');
    const socket = new WebSocket(this.#url, 'slotcast.v1');
    this.#socket = socket;
    this.#goodbyeMs = null;
    this.#welcoming = setTimeout(() => this.#drop(), WELCOME_MS);
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  close() {
    clearTimeout(this.#reconnecting);
    this.#detach()?.close(1000);
    this.#stop('closed');
  }

  /** Reconnects now, not when the back-off ends. */
  hurry() {
    if (this.status === 'waiting') this.connect();
  }

  /** Both dates are days of the calendar's time zone, and both are included. */
  watch(from, to) {
    this.#range = { from, to };
    this.slots = new Map();
    this.version = null;
    this.#subscribe();
    this.#emit('slots', { reset: true });
  }

  get loaded() {
    return this.version !== null;
  }

  hold(start, options) {
    return this.command('hold', { ...this.#what, start }, options);
  }

  release(holdId, options) {
    return this.command('release', { hold_id: holdId }, options);
  }

  book(start, fields, options) {
    return this.command('book', { ...this.#what, start, ...fields }, options);
  }

  cancel(bookingId, manageToken, reason = '', options) {
    return this.command('cancel', { booking_id: bookingId, manage_token: manageToken, reason }, options);
  }

  /**
   * Sends a command and resolves with its result. It is sent again, with the same key, after a reconnect and after
   * refusals that ask for it. Once the time is up nobody knows whether it was done; asking again with that `key` tells.
   */
  command(type, fields, { key = newKey(), timeoutMs = COMMAND_MS } = {}) {
    const message = { type, id: `c${++this.#serial}`, idempotency_key: key, ...fields };
    return new Promise((resolve, reject) => {
      if (this.status === 'refused' || this.status === 'closed') throw unanswered('closed', t('There is no connection'));
      const entry = { message, resolve, reject, error: unanswered('timeout', t('No answer came in time')) };
      entry.timer = setTimeout(() => this.#settle(entry).reject(entry.error), timeoutMs);
      this.#pending.set(message.id, entry);
      this.#send(message);
    });
  }

  #settle(entry) {
    this.#pending.delete(entry.message.id);
    clearTimeout(entry.timer);
    return entry;
  }

  #send(message) {
    if (this.#ready) this.#socket.send(JSON.stringify(message));
  }

  #subscribe() {
    if (!this.#ready || !this.#range) return;
    if (this.#subscription) this.#send({ type: 'unsubscribe', id: `u${++this.#serial}`, subscription: this.#subscription });
    this.#subscription = `s${++this.#serial}`;
    this.#view = null;
    const since = this.loaded ? { since: this.version } : {};
    this.#send({ type: 'subscribe', id: this.#subscription, ...this.#what, ...this.#range, time_zone: this.timeZone, ...since });
  }

  #subscribeIn(ms) {
    const subscription = this.#subscription;
    setTimeout(() => this.#subscription === subscription && this.#subscribe(), jittered(ms));
  }

  #receive(message) {
    this.#heard = true;
    const { type } = message;
    if (type === 'welcome') this.#welcomed();
    else if (type === 'reply') this.#reply(message);
    else if (type === 'goodbye') this.#goodbyeMs = message.reconnect_after_ms;
    else if (type === 'subscribed' && message.id === this.#subscription) this.#subscribed(message);
    else if (message.view !== this.#view) return;
    else if (type === 'snapshot') this.#snapshot(message);
    else if (type === 'delta' && !this.#needsSnapshot) this.#delta(message);
    else if (type === 'moved') this.#setStatus('moving');
  }

  #welcomed() {
    clearTimeout(this.#welcoming);
    this.#ready = true;
    this.#pinging = setInterval(() => this.#ping(), PING_MS);
    this.#subscribe();
    for (const entry of this.#pending.values()) this.#send(entry.message);
  }

  #ping() {
    // Not even the last ping was answered: the path is dead, whatever TCP believes.
    if (!this.#heard) return this.#drop();
    this.#heard = false;
    this.#send({ type: 'ping', id: `p${++this.#serial}` });
  }

  #subscribed({ view, recovered }) {
    this.#view = view;
    this.#needsSnapshot = !recovered;
    this.#tries = 0;
    if (recovered) this.#setStatus('live');
  }

  #snapshot({ slots, version }) {
    this.#needsSnapshot = false;
    this.slots = new Map(slots.map((slot) => [slot.start, slot]));
    this.version = version;
    this.#setStatus('live');
    this.#emit('slots', { reset: true });
  }

  #delta({ from_version, version, changes, removed = [] }) {
    if (from_version > this.version) return this.#subscribe();
    const changed = new Map();
    for (const slot of changes) {
      changed.set(slot.start, { before: this.slots.get(slot.start)?.state, after: slot.state });
      this.slots.set(slot.start, slot);
    }
    for (const start of removed) {
      changed.set(start, { before: this.slots.get(start)?.state });
      this.slots.delete(start);
    }
    this.version = Math.max(this.version, version);
    this.#emit('slots', { changed });
  }

  #reply({ id, ok, result, problem }) {
    const retryMs = ok ? 0 : (problem.retry_after_s ?? 0) * 1000;
    const entry = this.#pending.get(id);
    if (id === this.#subscription && !ok) {
      if (retryMs) this.#subscribeIn(retryMs);
      else this.#emit('problem', problem);
    } else if (!entry) {
      return;
    } else if (ok) {
      this.#settle(entry).resolve(result);
    } else if (problem.status === 503 && retryMs) {
      entry.error = new LiveProblem(problem);
      setTimeout(() => this.#pending.has(id) && this.#send(entry.message), jittered(retryMs));
    } else {
      this.#settle(entry).reject(new LiveProblem(problem));
    }
  }

  #drop() {
    this.#socket.close();
    // The close event of a dead path comes only after the browser's own long timeout.
    this.#lost(1006, '');
  }

  #detach() {
    const socket = this.#socket;
    if (socket) socket.onmessage = socket.onclose = null;
    this.#socket = this.#view = this.#subscription = null;
    this.#ready = false;
    this.#heard = true;
    clearTimeout(this.#welcoming);
    clearInterval(this.#pinging);
    return socket;
  }

  #lost(code, reason) {
    this.#detach();
    if (code >= 4100 && code <= 4199) return this.#stop('refused', reason || `code ${code}`);
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#tries++);
    const delayMs = this.#goodbyeMs === null ? (ceiling * (1 + Math.random())) / 2 : jittered(this.#goodbyeMs);
    this.#reconnecting = setTimeout(() => this.connect(), delayMs);
    this.#setStatus('waiting', reason);
  }

  #stop(status, reason) {
    for (const entry of this.#pending.values()) this.#settle(entry).reject(unanswered(status, t('The connection has ended')));
    this.#setStatus(status, reason);
  }

  #setStatus(status, reason) {
    this.status = status;
    this.#emit('status', { status, reason });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
