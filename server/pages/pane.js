import { addDays, dayOf, daysBetween, minutesAndSeconds, shortDay, timeOf } from './dates.js';
import { Grid, STRIP_DAYS, make, setText } from './grid.js';
import { LiveCalendar, newKey } from './live.js';
import { n, parts, t } from './texts.js';

const STATUS_TEXT = {
  connecting: t('connecting'),
  live: t('live'),
  waiting: t('reconnecting'),
  moving: t('catching up'),
  refused: t('not connected'),
  closed: t('not connected'),
};
const BECAME = {
  open: (when) => t('{0} is open again', when),
  held: (when) => t('{0} is held by someone', when),
  booked: (when) => t('{0} was booked by someone', when),
};
const STATE = { open: t('open'), held: t('held'), booked: t('booked') };

/** One visitor's view of the calendar, over a connection of its own. */
export class Pane {
  constructor({ visitor, professional, service, now }) {
    this.zone = professional.time_zone;
    this.now = now;
    this.hold = null;
    this.taking = null;
    this.bookings = new Map();
    this.live = new LiveCalendar({ professionalId: professional.id, serviceId: service.id, timeZone: this.zone });
    this.root = document.getElementById('pane').content.firstElementChild.cloneNode(true);
    this.root.ariaLabel = visitor;
    this.find = (selector) => this.root.querySelector(selector);
    this.find('h2').textContent = visitor;
    this.find('.days').ariaLabel = t('Days, {0}', visitor);
    this.find('.slots').ariaLabel = t('Times, {0}', visitor);
    this.form = this.find('form');
    this.#listen();
  }

  start() {
    this.from = this.day = this.#today();
    this.choosesDay = true;
    this.#watch();
    this.live.connect();
    setInterval(() => this.#tick(), 1000);
  }

  #today() {
    return dayOf(this.now(), this.zone);
  }

  #listen() {
    this.grid = new Grid(this.root, {
      zone: this.zone,
      look: (slot) => this.#look(slot),
      onDay: (day) => this.#show(day),
      onSlot: (start) => this.#take(start),
    });
    this.live.addEventListener('status', ({ detail }) => this.#status(detail));
    this.live.addEventListener('slots', ({ detail }) => this.#changed(detail));
    this.live.addEventListener('problem', ({ detail }) => this.#refused(detail));
    this.grid.earlier.onclick = () => this.#show(addDays(this.day, -1));
    this.grid.later.onclick = () => this.#show(addDays(this.day, 1));
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.#book();
    };
    this.find('.release').onclick = () => this.#release();
    addEventListener('online', () => this.live.hurry());
  }

  #status({ status, reason }) {
    const state = this.find('.link-state');
    setText(state, STATUS_TEXT[status] ?? status);
    state.dataset.status = status;
    this.root.classList.toggle('stale', status !== 'live');
    if (status === 'refused') this.#alert(t('The server refused this connection.'), reason, [t('Try again'), () => this.live.connect()]);
  }

  #watch() {
    this.live.watch(this.from, addDays(this.from, STRIP_DAYS - 1));
  }

  #show(day) {
    const today = this.#today();
    if (day < today) return;
    this.choosesDay = false;
    this.day = day;
    const offset = daysBetween(this.from, day);
    if (offset >= 0 && offset < STRIP_DAYS) return this.#draw();
    this.from = addDays(this.from, Math.floor(offset / STRIP_DAYS) * STRIP_DAYS);
    if (this.from < today) this.from = today;
    this.#watch();
  }

  #changed({ changed }) {
    if (this.choosesDay && this.live.loaded) {
      const open = [...this.live.slots.values()].find((slot) => this.#look(slot).kind === 'open');
      if (open) this.day = dayOf(open.start, this.zone);
      this.choosesDay = false;
    }
    this.#checkHold();
    this.#draw();
    if (!changed) return;
    const news = [];
    for (const [start, { before, after }] of changed) {
      if (before === after) continue;
      this.grid.flash(start);
      if (before && BECAME[after] && !/mine|yours|taking/.test(this.#look(this.live.slots.get(start)).kind)) news.push(BECAME[after](this.#when(start)));
    }
    if (news.length) setText(this.find('.news'), news.length > 2 ? n('{0} time changed', '{0} times changed', news.length) : news.join('; '));
  }

  #isBooked(start) {
    return [...this.bookings.values()].some((booking) => booking.start === start);
  }

  #checkHold() {
    const { hold } = this;
    const state = hold && this.live.slots.get(hold.start)?.state;
    // The reply can come before the change it caused, so only a hold that was seen can be missed.
    if (state === 'held') hold.seen = true;
    else if (state && hold.seen && !hold.busy) this.#endHold(t('The hold has run out.'));
  }

  #when(start) {
    return `${shortDay(dayOf(start, this.zone))}, ${timeOf(start, this.zone)}`;
  }

  async #take(start) {
    if (this.taking || this.hold?.busy) return;
    this.taking = start;
    this.#alert();
    this.#draw();
    try {
      const { id, expires_at } = await this.live.hold(start);
      // The former hold goes only once the new one stands, so a refusal does not cost the visitor both.
      if (this.hold) this.live.release(this.hold.id).catch(() => {});
      this.hold = { id, start, expires: Date.parse(expires_at), placed: this.now() };
      this.taking = null;
      this.#checkHold();
      this.#draw();
      this.form.hidden = false;
      this.form.elements.name.focus({ preventScroll: true });
      this.form.scrollIntoView({ block: 'nearest' });
    } catch (error) {
      this.#failed(error);
      this.taking = null;
      this.#draw();
    }
  }

  async #release() {
    const { hold } = this;
    if (!hold || hold.busy || this.taking) return;
    this.#alert();
    hold.busy = true;
    try {
      await this.live.release(hold.id);
      this.#endHold();
    } catch (error) {
      hold.busy = false;
      this.#failed(error);
    }
  }

  async #book() {
    const { hold } = this;
    if (!hold || hold.busy || this.taking) return;
    const guest = { name: this.form.elements.name.value.trim() };
    const email = this.form.elements.email.value.trim();
    if (email) guest.email = email;
    // The same wish keeps its key, so pressing again after a lost answer cannot book twice.
    const wish = JSON.stringify(guest);
    if (hold.wish !== wish) Object.assign(hold, { wish, key: newKey() });
    hold.busy = true;
    this.#alert();
    this.#draw();
    try {
      const booking = await this.live.book(hold.start, { hold_id: hold.id, guest }, { key: hold.key });
      this.bookings.set(booking.id, booking);
      this.#endHold();
      this.#addBooking(booking);
    } catch (error) {
      hold.busy = false;
      this.#failed(error);
    }
    this.#draw();
  }

  #endHold(why) {
    const hadFocus = this.form.contains(document.activeElement);
    const { start } = this.hold;
    this.hold = null;
    this.form.hidden = true;
    this.#draw();
    if (hadFocus) this.grid.focus(start);
    if (why) this.#alert(why, t('The time is open to everyone again.'));
  }

  #addBooking({ id, code, status, start, manage_token }) {
    const when = make('strong', {}, this.#when(start));
    const said = status === 'pending' ? parts('{0} awaits approval', when) : parts('{0} is booked', when);
    const title = make('p', { tabIndex: -1 }, ...said);
    const button = make('button', { type: 'button' }, t('Cancel booking'));
    const card = make('li', { className: 'card booked' }, make('div', {}, title, make('p', { className: 'code' }, code)), button);
    button.onclick = async () => {
      this.#alert();
      button.disabled = true;
      title.focus();
      try {
        await this.live.cancel(id, manage_token);
        this.bookings.delete(id);
        title.replaceChildren(...parts('{0} is cancelled', when));
        card.className = 'card gone';
        button.remove();
      } catch (error) {
        button.disabled = false;
        this.#failed(error);
      }
      this.#draw();
    };
    this.find('.bookings').prepend(card);
    title.focus({ preventScroll: true });
    card.scrollIntoView({ block: 'nearest' });
  }

  #failed(error) {
    if (!error.problem) throw error;
    if (this.hold && !this.taking && /^(hold_gone|slot_unavailable|not_found)$/.test(error.problem.code)) this.#endHold();
    this.#refused(error.problem);
  }

  #refused(problem) {
    const fields = problem.errors?.map((e) => `${e.field}: ${e.message}`).join('; ');
    const until = problem.retry_at && t('It may come free at {0}.', timeOf(problem.retry_at, this.zone));
    const said = problem.detail === problem.title ? '' : problem.detail?.replace(/\d{4}-\S+Z/g, (instant) => this.#when(instant));
    const detail = [fields ?? said, until].filter(Boolean).join('. ');
    const take = (start) => {
      this.#show(dayOf(start, this.zone));
      this.#take(start);
    };
    const offers = (problem.alternatives ?? []).map(({ start }) => [this.#when(start), () => take(start)]);
    this.#alert(`${problem.title}.`, detail, ...offers);
  }

  /** Says what went wrong and offers ways on; without a title it clears what was said before. */
  #alert(title = '', detail = '', ...offers) {
    this.find('.gone')?.remove();
    const box = this.find('.alert');
    box.hidden = !title;
    const buttons = offers.map(([text, act]) => make('button', { type: 'button', onclick: () => (this.#alert(), act()) }, text));
    box.replaceChildren(make('p', {}, make('strong', {}, title), ` ${detail ?? ''}`), ...buttons);
  }

  #look(slot) {
    const { start, state, remaining } = slot;
    if (this.taking === start) return { kind: 'taking', label: t('asking…') };
    if (this.hold?.start === start) return { kind: 'mine', label: t('held {0}', this.#left()) };
    if (this.#isBooked(start)) return { kind: 'yours', label: t('yours') };
    if (Date.parse(start) <= this.now()) return { kind: 'past', label: t('past') };
    if (state === 'blocked') return { kind: 'past', label: t('closed') };
    return { kind: state, label: state === 'open' && remaining > 1 ? n('{0} open', '{0} open', remaining) : STATE[state] };
  }

  #sayHeld(start) {
    const text = this.find('.hold-text');
    if (text.dataset.start === start) return;
    text.dataset.start = start;
    text.replaceChildren(...parts('{0} is held for you', make('strong', {}, this.#when(start))));
  }

  #left() {
    return minutesAndSeconds(this.hold.expires - this.now());
  }

  #draw() {
    const { from, day, hold, live } = this;
    this.grid.draw({ from, day, today: this.#today(), slots: live.slots, loaded: live.loaded });
    setText(this.find('.version'), live.loaded ? t('version {0}', live.version) : '');
    if (!hold) return;
    this.#sayHeld(hold.start);
    setText(this.find('.left'), t('{0} left', this.#left()));
    const bar = this.find('progress');
    bar.max = Math.max(1, hold.expires - hold.placed);
    bar.value = Math.max(0, hold.expires - this.now());
    this.find('.primary').ariaDisabled = String(Boolean(hold.busy));
  }

  #tick() {
    if (this.hold && this.hold.expires <= this.now() && !this.hold.busy) this.#endHold(t('The hold has run out.'));
    this.#draw();
  }
}
