/** What the page says, in the language it was served in. The keys are the English texts. */
const { language, forms, texts, names } = JSON.parse(document.getElementById('texts').textContent);
const plural = new Intl.PluralRules(language);

/** Whether the browser knows the words of the language. Chromium says it knows Kazakh, and calls January M01. */
export const isKnown = !/^M0?1/.test(new Intl.DateTimeFormat(language, { month: 'long', timeZone: 'UTC' }).format(0));
// English as most countries write it, with the day before the month. Kazakh writes its numbers as Russian does.
export const locale = language === 'en' ? 'en-GB' : isKnown ? language : 'ru';
export { language, names };

const fill = (text, values) => text.replace(/\{(\d)\}/g, (_, i) => values[i]);

/** The text in the page's language; `{0}`, `{1}`, … are the values. */
export const t = (text, ...values) => fill(texts[text] ?? text, values);

/** As `t`, for so many of something; `{0}` is the count. */
export function n(one, many, count, ...values) {
  const known = texts[one] ?? [one, many];
  const form = forms.indexOf(plural.select(count));
  return fill(known[form] ?? known.at(-1), [count, ...values]);
}

/** As `t`, for elements among the values: an array of texts and nodes. */
export function parts(text, ...values) {
  return (texts[text] ?? text).split(/\{(\d)\}/).map((part, i) => (i % 2 ? values[part] : part));
}
