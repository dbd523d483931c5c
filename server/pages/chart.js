import { longDay } from './dates.js';
import { t } from './texts.js';

const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 100;
const GAP = 0.2;
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -7, ArrowUp: 7, PageDown: -30, PageUp: 30 };

const PARTS = [
  ['stood', (day) => day.pending + day.confirmed + day.completed],
  ['missed', (day) => day.no_show],
  ['fell', (day) => day.cancelled + day.rejected + day.expired],
];

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A bar for each day. One day is marked, by the pointer or by arrow keys, and told in words. */
export class Chart {
  #root;
  #said;
  #say;
  #days = [];
  #marked = 0;
  #mark;

  constructor(root, said, say) {
    this.#root = root;
    this.#said = said;
    this.#say = say;
    root.onkeydown = (event) => this.#key(event);
    root.onpointermove = (event) => this.#point(event);
    root.onpointerdown = (event) => this.#point(event);
  }

  draw(days) {
    this.#days = days;
    const most = Math.max(1, ...days.map((day) => day.bookings));
    const svg = shape('svg', { viewBox: `0 0 ${days.length} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    this.#mark = shape('rect', { class: 'marked', width: 1, height: HEIGHT, y: 0 });
    svg.append(this.#mark, shape('line', { x1: 0, x2: days.length, y1: HEIGHT, y2: HEIGHT }));
    days.forEach((day, i) => {
      let top = HEIGHT;
      for (const [kind, count] of PARTS) {
        const height = (count(day) / most) * (HEIGHT - 4);
        top -= height;
        if (height) svg.append(shape('rect', { class: kind, x: i + GAP / 2, width: 1 - GAP, y: top, height }));
      }
    });
    this.#root.replaceChildren(svg);
    this.#root.ariaValueMin = 1;
    this.#root.ariaValueMax = days.length;
    const first = days.findIndex((day) => day.bookings);
    this.#show(first < 0 ? 0 : first);
  }

  #show(index) {
    this.#marked = Math.min(Math.max(index, 0), this.#days.length - 1);
    const day = this.#days[this.#marked];
    const text = t('{0}: {1}', longDay(day.date), this.#say(day));
    this.#mark.setAttribute('x', this.#marked);
    this.#root.ariaValueNow = this.#marked + 1;
    this.#root.ariaValueText = text;
    this.#said.textContent = text;
  }

  #key(event) {
    const last = this.#days.length - 1;
    const to = { Home: 0, End: last }[event.key] ?? this.#marked + (STEPS[event.key] ?? NaN);
    if (Number.isNaN(to)) return;
    event.preventDefault();
    this.#show(to);
  }

  #point(event) {
    const { left, width } = this.#root.getBoundingClientRect();
    this.#show(Math.floor(((event.clientX - left) / width) * this.#days.length));
  }
}
