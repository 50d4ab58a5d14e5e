// Charts of the last hour. The newest point is at the right edge; what is not known is a gap.

const POINTS = 240, HEIGHT = 60; // of a drawing, as the templates have it

// A line is a few stretches of points.
function stretches(values, top) {
  const found = [];
  let points;
  values.forEach((value, i) => {
    if (typeof value !== "number") return points = undefined;
    if (!points) found.push(points = []);
    const x = POINTS - values.length + i, y = HEIGHT - 1.5 - value / top * (HEIGHT - 3);
    points.push([x, y.toFixed(1)]);
  });
  return found;
}

// A point that stands alone is a dash.
const line = ([[x, y], ...rest]) => `M${x} ${y}${rest.map(([x, y]) => `L${x} ${y}`).join("") || "h1"}`;
const ground = points => `${line(points)}V${HEIGHT}H${points[0][0]}Z`;

function draw(drawing, top, a, b) {
  const put = (part, values = [], how) =>
    drawing.querySelector(part)?.setAttribute("d", stretches(values, top).map(how).join(""));
  put(".area", a, ground);
  put(".a", a, line);
  put(".b", b, line);
}

const most = (values = []) => values.reduce((most, value) => Math.max(most, value ?? 0), 0);

// 1, 2 or 5 and noughts: a scale that seldom changes. Of seconds, what is round for a person.
const ROUND = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 36000, 86400, 172800, 432000];
function scale(...numbers) {
  const least = Math.max(...numbers), power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5].map(n => n * power).find(n => n >= least) ?? 10 * power;
}
const scaleOfTime = (...numbers) => ROUND.find(n => n >= Math.max(...numbers)) ?? scale(...numbers);

// A figure with a number, a line of words and a chart of one or two lines.
class Panel {
  // `unit` writes a value; `least` is what the scale never falls below; `lines` are their names.
  constructor(id, name, least, unit, lines = [""], round = scale) {
    Object.assign(this, { name, least, unit, lines, round, values: [], word: "" });
    const figure = at(id);
    figure.append(piece("panel"));
    [this.number, this.words, this.plot] = figure.querySelectorAll(".now, .then, .plot");
    this.cursor = figure.querySelector(".cursor");
    this.top = figure.querySelector(".top");
    this.plot.addEventListener("pointermove", event => {
      const box = this.plot.getBoundingClientRect();
      Panel.point(Math.round((event.clientX - box.left) / box.width * (POINTS - 1)));
    });
    for (const left of ["pointerleave", "blur"]) this.plot.addEventListener(left, () => Panel.point());
    this.plot.addEventListener("keydown", event => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
      if (event.key === "Escape") Panel.point();
      if (!step) return;
      event.preventDefault();
      Panel.point((Panel.pointed ?? POINTS - 1) + step);
    });
    Panel.all.push(this);
  }

  // `parts`: what is set large, and by turns what is set small.
  show(parts, word, history, ...values) {
    const text = parts.join("");
    if (this.number.said !== text) {
      this.number.said = text;
      this.number.replaceChildren(...parts.map((part, i) => {
        const node = document.createElement(i % 2 ? "small" : "span");
        node.textContent = part;
        return node;
      }));
    }
    this.word = word;
    if (this.drawn !== history.drawn) {
      Object.assign(this, { drawn: history.drawn, history, values });
      const top = this.round(this.least, ...values.map(most));
      draw(this.plot, top, ...values);
      say(this.top, this.unit(top).replace(/\.0 /, " "));
    }
    const label = `${this.name}, the last hour: now ${text}; ${word}`;
    if (this.plot.ariaLabel !== label) this.plot.ariaLabel = label;
    this.tell();
  }

  // What the chart says of the moment that is pointed at.
  tell() {
    show(this.cursor, Panel.pointed !== undefined);
    if (Panel.pointed === undefined) return say(this.words, this.word);
    this.cursor.style.left = `${Panel.pointed / (POINTS - 1) * 100}%`;
    const { until, stepSeconds } = this.history, behind = POINTS - 1 - Panel.pointed;
    const clock = new Date(Date.parse(until) - behind * stepSeconds * 1000).toISOString().slice(11, 19);
    const read = this.lines.map((name, i) => {
      const values = this.values[i] ?? [], value = values[values.length - 1 - behind];
      return `${name} ${typeof value === "number" ? this.unit(value) : "–"}`;
    });
    say(this.words, `${clock}  ${read.join(", ").trim()}`);
  }

  static all = [];
  // A moment is pointed at in all charts at once.
  static pointed;
  static point(x) {
    const known = Panel.all.every(panel => panel.history?.until);
    Panel.pointed = x === undefined || !known ? undefined : Math.min(POINTS - 1, Math.max(0, x));
    for (const panel of Panel.all) panel.tell();
  }
}
