import { addDays, dayOf, dayText, longDay, timeOf } from './dates.js';
import { n, t } from './texts.js';

export const STRIP_DAYS = 7;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  // Writing the same text again would make screen readers repeat it.
  if (element.textContent !== text) element.textContent = text;
}

/** The strip of days and the times of the chosen one. `look` tells the kind and label of a slot. */
export class Grid {
  #root;
  #zone;
  #look;
  #buttons = new Map();

  constructor(root, { zone, look, onDay, onSlot }) {
    this.#root = root;
    this.#zone = zone;
    this.#look = look;
    this.title = root.querySelector('.day-title');
    this.list = root.querySelector('.slots');
    this.empty = root.querySelector('.empty');
    [this.earlier, this.later] = root.querySelectorAll('.step');
    this.days = Array.from({ length: STRIP_DAYS }, () => {
      const parts = ['weekday', 'date', 'free'].map((className) => make('span', { className }));
      // In words where there is room for them, else as a number.
      parts[2].append(make('span', { className: 'long' }), make('span', { className: 'short' }));
      return make('button', { type: 'button', onclick: (event) => onDay(event.currentTarget.dataset.day) }, ...parts);
    });
    root.querySelector('.strip').append(...this.days.map((button) => make('li', {}, button)));
    this.list.onclick = (event) => {
      const button = event.target.closest('button');
      if (button?.ariaDisabled === 'false') onSlot(button.dataset.start);
    };
  }

  draw({ from, day, today, slots, loaded }) {
    const shown = [];
    const free = {};
    for (const slot of slots.values()) {
      slot.day ??= dayOf(slot.start, this.#zone);
      if (slot.day === day) shown.push(slot);
      if (this.#look(slot).kind === 'open') free[slot.day] = (free[slot.day] ?? 0) + 1;
    }
    this.days.forEach((button, i) => {
      const date = addDays(from, i);
      const [weekday, number, open] = button.children;
      button.dataset.day = date;
      button.ariaPressed = String(date === day);
      button.classList.toggle('none', loaded && !free[date]);
      const count = free[date] ?? 0;
      const words = n('{0} open', '{0} open', count);
      button.ariaLabel = loaded ? `${longDay(date)}, ${n('{0} open time', '{0} open times', count)}` : longDay(date);
      setText(weekday, dayText(date, { weekday: 'short' }));
      setText(number, dayText(date, { day: 'numeric' }));
      setText(open.firstElementChild, loaded ? words : '');
      setText(open.lastElementChild, loaded ? `${count}` : '');
    });
    this.earlier.disabled = day <= today;
    setText(this.title, longDay(day));
    this.#drawSlots(shown.sort((a, b) => (a.start < b.start ? -1 : 1)));
    this.empty.hidden = shown.length > 0;
    setText(this.empty, loaded ? t('No times on this day.') : t('Loading…'));
  }

  #drawSlots(slots) {
    const wanted = new Set(slots.map((slot) => slot.start));
    for (const [start, button] of this.#buttons) {
      if (wanted.has(start)) continue;
      button.parentElement.remove();
      this.#buttons.delete(start);
    }
    slots.forEach((slot, i) => {
      // A button stays the same element while its state changes, or it would lose the focus.
      const button = this.#buttons.get(slot.start) ?? this.#add(slot.start);
      if (this.list.children[i] !== button.parentElement) this.list.insertBefore(button.parentElement, this.list.children[i] ?? null);
      const { kind, label } = this.#look(slot);
      button.dataset.kind = kind;
      // Not `disabled`, which would take the focus from someone who tabs through the day.
      button.ariaDisabled = String(kind !== 'open');
      setText(button.lastElementChild, label);
    });
  }

  #add(start) {
    const time = make('span', { className: 'time' }, timeOf(start, this.#zone));
    const button = make('button', { type: 'button' }, time, ' ', make('span', { className: 'state' }));
    button.dataset.start = start;
    this.#buttons.set(start, button);
    make('li', {}, button);
    return button;
  }

  focus(start) {
    (this.#buttons.get(start) ?? this.title).focus();
  }

  flash(start) {
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    this.#buttons.get(start)?.animate([{ transform: 'scale(1.08)' }, { transform: 'none' }], 400);
  }
}
