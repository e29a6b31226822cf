"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const SVG = Object.assign(document.createElement("p"), { innerHTML: "<svg></svg>" }).firstChild.namespaceURI;

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function toggle(label, pressed, changed) {
    const button = make("button", { type: "button", "aria-pressed": pressed }, label);
    button.addEventListener("click", () => {
      const now = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", now);
      changed(now);
    });
    return button;
  }

  // -- numbers ------------------------------------------------------------------------------------------------

  function digits(value, count = 4) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size === 0 || (size >= 1e-3 && size < 1e6)) return String(Number(value.toPrecision(count)));
    return Number(value.toPrecision(3)).toExponential().replace("e-", "e−").replace("e+", "e");
  }

  function position(x) {
    if (data.unit === "epoch") return `epoch ${Math.round(x * 10) / 10}`;
    return `${Math.round(x).toLocaleString("en").replaceAll(",", "\u202f")} images`;
  }

  function linearTicks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].find((m) => m * power >= rough * 0.9) * power;
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
    return ticks;
  }

  function logTicks(low, high, count) {
    const decades = Math.log10(high / low);
    const parts = decades > 3 ? [1] : decades > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
    const ticks = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) {
      for (const part of parts) if (part * 10 ** e >= low && part * 10 ** e <= high) ticks.push(part * 10 ** e);
    }
    const every = Math.ceil(ticks.length / (count + 2));
    return ticks.length < 2 ? linearTicks(low, high, count) : ticks.filter((_, i) => i % every === 0);
  }

  // Ticks with their names, in as many digits as tell each from the next.
  function named(ticks, name) {
    for (let count = 4; count < 9; count++) {
      const names = ticks.map((tick) => name(tick, count));
      if (new Set(names).size === names.length) return ticks.map((tick, i) => [tick, names[i]]);
    }
    return ticks.map((tick) => [tick, name(tick, 9)]);
  }

  function nearest(xs, x) {
    let low = 0;
    let high = xs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle + 1;
      else high = middle;
    }
    return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
  }

  // -- charts -------------------------------------------------------------------------------------------------

  function chart(place, spec, { height, controls }) {
    const longest = Math.max(...spec.series.map((s) => s.x.length));
    const levels = spec.series.map((s) => s.y[s.y.length >> 1]);
    const wide = controls && levels.every((y) => y > 0) && Math.max(...levels) > 15 * Math.min(...levels);
    const state = { log: wide, soft: spec.noisy && longest > 60, hidden: new Set(), at: null };
    const colour = (i) => `var(--c${i % 8})`;
    const title = spec.title + (spec.better ? (spec.better === "lower" ? " ↓" : " ↑") : "");
    const where = make("output", { class: "hint" });
    const top = make("div", { class: "top" }, make("h3", {}, title, " ", where));
    if (controls) {
      const smoothed = toggle("Smooth", state.soft, (on) => ((state.soft = on), draw()));
      const log = toggle("Log scale", state.log, (on) => ((state.log = on), draw()));
      top.append(make("span", { class: "controls" }, smoothed, log));
    }
    const plot = make("div", { class: "plot", tabindex: 0, role: "group" });
    plot.setAttribute("aria-label", `${spec.title}: curves. The left and right arrow keys read them out below.`);
    const values = spec.series.map(() => make("b"));
    const legend = make("div", { class: "legend", role: "group", "aria-label": "Curves shown" });
    spec.series.forEach((series, i) => {
      const item = toggle("", true, (on) => (state.hidden[on ? "delete" : "add"](i), draw()));
      const swatch = make("i");
      swatch.style.borderColor = colour(i);
      if (i >= 8) swatch.style.borderTopStyle = "dashed";
      item.append(swatch, series.name, values[i]);
      legend.append(item);
    });
    place.append(make("div", { class: "chart" }, top, plot, legend));

    const strong = (s) => (state.soft ? [s.sx, s.sy] : [s.x, s.y]);
    const banded = (s) => [...s.band.keys()].filter((j) => s.band[j] !== null && s.y[j] !== null);
    const usable = (y) => y !== null && (!state.log || y > 0);

    function range(shown) {
      if (spec.domain) return spec.domain;
      const lines = shown.flatMap(([s]) => strong(s)[1]).filter(usable);
      for (const [s] of shown) for (const j of banded(s)) lines.push(s.y[j] - s.band[j], s.y[j] + s.band[j]);
      // Behind smoothed curves a single spike of the raw ones must not flatten the picture.
      const raw = state.soft ? shown.flatMap(([s]) => s.y).filter(usable).sort((a, b) => a - b) : [];
      if (raw.length) lines.push(raw[Math.floor(raw.length * 0.01)], raw[Math.ceil(raw.length * 0.985) - 1]);
      let low = lines.length ? lines.reduce((a, b) => Math.min(a, b)) : state.log ? 0.1 : 0;
      let high = lines.length ? lines.reduce((a, b) => Math.max(a, b)) : 1;
      if (state.log) return high > low * 1.05 ? [low / 1.05, high * 1.05] : [low / 2, high * 2];
      if (low > 0 && low < 0.35 * high) low = 0;
      // As good as equal, as where a band of rounding's width is all that there is.
      if (high - low <= 1e-6 * Math.max(Math.abs(low), Math.abs(high))) return low > 0 ? [0, 1.2 * high] : [low - 1, high + 1];
      const room = (high - low) * (spec.better ? 0.18 : 0.05); // the best is labelled beyond its point
      return [low === 0 ? 0 : low - (spec.better === "higher" ? room / 3 : room), high + room];
    }

    let geometry;

    function draw() {
      const width = Math.max(200, plot.clientWidth);
      const shown = spec.series.map((s, i) => [s, i]).filter(([, i]) => !state.hidden.has(i));
      const [low, high] = range(shown);
      const ends = spec.series.flatMap((s) => [s.x[0], s.x[s.x.length - 1]]);
      const [least, most] = [Math.min(...ends), Math.max(...ends)];
      const first = least > 0.15 * most && least < most ? least : 0; // from 0 to a single place
      const last = most || 1;
      const ticks = named((state.log ? logTicks : linearTicks)(low, high, Math.max(3, height / 55)), digits);
      const left = 12 + 6.6 * Math.max(...ticks.map(([, name]) => name.length), 2);
      const [right, bottom, head] = [width - 10, height - 24, 8];
      const scale = state.log ? Math.log : (v) => v;
      const px = (x) => left + ((x - first) / (last - first)) * (right - left);
      const py = (y) => bottom - ((scale(y) - scale(low)) / (scale(high) - scale(low))) * (bottom - head);

      const svg = document.createElementNS(SVG, "svg");
      const add = (tag, attributes, text, parent = svg) => {
        const element = document.createElementNS(SVG, tag);
        for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
        if (text !== undefined) element.textContent = text;
        return parent.appendChild(element);
      };
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("height", height);
      svg.setAttribute("aria-hidden", "true");
      for (const [tick, name] of ticks) {
        add("line", { class: "grid", x1: left, x2: right, y1: py(tick), y2: py(tick) });
        add("text", { x: left - 7, y: py(tick) + 4, "text-anchor": "end" }, name);
      }
      const thousands = (tick, count) => (tick >= 1e4 ? `${digits(tick / 1e3, count)}k` : digits(tick, count));
      for (const [tick, name] of named(linearTicks(first, last, Math.min(10, width / 70)), thousands)) {
        add("text", { x: px(tick), y: height - 6, "text-anchor": "middle" }, name);
      }
      add("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
      const name = `clip${spec.title.replace(/\W/g, "")}${Math.round(Math.random() * 1e9)}`;
      const clip = add("clipPath", { id: name });
      add("rect", { x: left, y: 0, width: right - left + 6, height: bottom + 1 }, undefined, clip);
      const lines = add("g", { "clip-path": `url(#${name})` });
      const line = (xs, ys, i, kind) => {
        let path = "";
        let pen = "M";
        xs.forEach((x, j) => {
          if (!usable(ys[j])) return void (pen = "M");
          path += `${pen}${px(x).toFixed(1)} ${py(ys[j]).toFixed(1)}`;
          pen = "L";
        });
        const dash = i >= 8 ? "6 4" : "none";
        add("path", { class: kind, d: path, style: `stroke:${colour(i)};stroke-dasharray:${dash}` }, undefined, lines);
        xs.forEach((x, j) => {
          if (!usable(ys[j]) || usable(ys[j - 1] ?? null) || usable(ys[j + 1] ?? null)) return;
          // Without a neighbour there is no line to see.
          add("circle", { class: "lone", cx: px(x), cy: py(ys[j]), r: 3.5, style: `fill:${colour(i)}` }, undefined, lines);
        });
      };
      for (const [s, i] of shown) {
        const edge = (side) => (j) => `${px(s.x[j]).toFixed(1)} ${py(s.y[j] + side * s.band[j]).toFixed(1)}`;
        const outline = [...banded(s).map(edge(1)), ...banded(s).reverse().map(edge(-1))].join("L");
        if (outline) add("path", { class: "band", d: `M${outline}Z`, style: `fill:${colour(i)}` }, undefined, lines);
      }
      if (state.soft) for (const [s, i] of shown) line(s.x, s.y, i, "line faint");
      for (const [s, i] of shown) line(...strong(s), i, "line");
      const labels = [];
      for (const [s, i] of shown) {
        if (!s.best) continue;
        const [x, y] = [px(s.best[0]), py(s.best[1])];
        add("circle", { class: "mark", cx: x, cy: y, r: 4.5, style: `stroke:${colour(i)}` });
        const anchor = x > right - 60 ? "end" : x < left + 60 ? "start" : "middle";
        const beyond = spec.better === "higher" ? y - 10 : y + 19;
        if (labels.some(([a, b]) => Math.abs(a - x) < 50 && Math.abs(b - beyond) < 13)) continue;
        labels.push([x, beyond]);
        add("text", { class: "marked", x, y: beyond, "text-anchor": anchor }, digits(s.best[1]));
      }
      geometry = { first, last, left, right, head, bottom, px, py, add };
      plot.replaceChildren(svg);
      point(state.at);
    }

    function point(at) {
      state.at = at;
      plot.querySelectorAll(".cursor, .dot").forEach((element) => element.remove());
      const { head, bottom, px, py, add } = geometry;
      if (at !== null) add("line", { class: "cursor", x1: px(at), x2: px(at), y1: head, y2: bottom });
      spec.series.forEach((s, i) => {
        const [xs, ys] = strong(s);
        const j = at === null ? xs.length - 1 : nearest(xs, at);
        values[i].textContent = digits(ys[j]);
        if (at === null || state.hidden.has(i) || !usable(ys[j])) return;
        const y = py(ys[j]);
        if (y >= head - 2) add("circle", { class: "dot", cx: px(xs[j]), cy: y, r: 3.5, style: `fill:${colour(i)}` });
      });
      where.textContent = at === null ? "" : position(at);
    }

    plot.addEventListener("pointermove", (event) => {
      const { first, last, left, right } = geometry;
      const x = event.clientX - plot.getBoundingClientRect().left;
      const share = Math.min(1, Math.max(0, (x - left) / (right - left)));
      const at = first + share * (last - first);
      const xs = spec.series.reduce((a, s) => (s.x.length > a.length ? s.x : a), []);
      point(xs[nearest(xs, at)]);
    });
    plot.addEventListener("pointerleave", () => point(null));
    plot.addEventListener("blur", () => point(null));
    plot.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      const { first, last } = geometry;
      point(Math.min(last, Math.max(first, (state.at ?? last) + (way * (last - first)) / 50)));
    });
    new ResizeObserver(draw).observe(plot);
    draw();
  }

  if (data.losses.series.length) chart(find("losses"), data.losses, { height: 340, controls: true });
  for (const spec of data.small) chart(find("small"), spec, { height: 190, controls: false });

  // -- pictures: the style sheet fits them to the window by their width and height -----------------------------

  function shape(element, { width, height }) {
    element.style.setProperty("--w", width);
    element.style.setProperty("--h", height);
  }

  // -- before and after ---------------------------------------------------------------------------------------

  if (data.pictures.length) {
    const [stage, cut, thumbs, directions] = ["stage", "cut", "thumbs", "directions"].map(find);
    const against = [...find("against").children];
    const names = [...new Set(data.pictures.map((p) => p.direction))];
    const chosen = { picture: data.pictures[0], role: "input" };

    function show() {
      const { picture } = chosen;
      const role = picture.target ? chosen.role : "input";
      const word = role === "input" ? "Input" : "Target";
      shape(stage, picture);
      find("before").src = picture[role];
      find("before").alt = `${word} of test image ${picture.number}`;
      find("after").src = picture.output;
      find("after").alt = `Output for test image ${picture.number}`;
      find("tag").textContent = word;
      cut.setAttribute("aria-label", `Share of the ${role} shown`);
      for (const button of against) {
        button.setAttribute("aria-pressed", button.dataset.role === role);
        button.disabled = button.dataset.role === "target" && !picture.target;
      }
      for (const button of thumbs.children) button.setAttribute("aria-pressed", button.picture === picture);
    }

    function fill(direction) {
      const pictures = data.pictures.filter((p) => p.direction === direction);
      const buttons = pictures.map((picture) => {
        const image = make("img", { src: picture.output, alt: "", loading: "lazy" });
        const button = make("button", { type: "button", "aria-label": `Test image ${picture.number}` }, image);
        button.picture = picture;
        button.addEventListener("click", () => ((chosen.picture = picture), show()));
        return button;
      });
      thumbs.replaceChildren(...buttons);
      for (const button of directions.children) button.setAttribute("aria-pressed", button.direction === direction);
      chosen.picture = pictures[0];
      show();
    }

    function slide() {
      stage.style.setProperty("--at", `${cut.value}%`);
      cut.setAttribute("aria-valuetext", `${Math.round(cut.value)} percent`);
    }

    for (const button of against) button.addEventListener("click", () => ((chosen.role = button.dataset.role), show()));
    for (const direction of names) {
      const button = make("button", { type: "button" }, direction || "all");
      button.direction = direction;
      button.addEventListener("click", () => fill(direction));
      directions.append(button);
    }
    directions.hidden = names.length < 2;
    find("against").hidden = !data.pictures.some((p) => p.target);
    cut.addEventListener("input", slide);
    fill(names[0]);
    slide();
  }

  // -- sample sheets ------------------------------------------------------------------------------------------

  if (data.sheets.length) {
    const [scrub, earlier, later, play, when, image] = ["scrub", "earlier", "later", "play", "when", "sheet"].map(find);
    const last = data.sheets.length - 1;
    let timer = null;

    function turn(to) {
      const at = Math.min(last, Math.max(0, Number(to)));
      const sheet = data.sheets[at];
      scrub.value = at;
      scrub.setAttribute("aria-valuetext", sheet.label);
      when.textContent = sheet.label;
      const { src, width, height, label } = sheet;
      Object.assign(image, { src, width, height, alt: `Sample sheet, ${label}` });
      find("sheet-link").href = sheet.src;
      shape(find("sheet-link"), sheet);
      earlier.disabled = at === 0;
      later.disabled = at === last;
      for (const near of [at - 1, at + 1]) if (data.sheets[near]) new Image().src = data.sheets[near].src;
    }

    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    }

    scrub.addEventListener("input", () => (stop(), turn(scrub.value)));
    earlier.addEventListener("click", () => (stop(), turn(scrub.value - 1)));
    later.addEventListener("click", () => (stop(), turn(Number(scrub.value) + 1)));
    play.addEventListener("click", () => {
      if (timer) return stop();
      if (Number(scrub.value) === last) turn(0);
      play.textContent = "Pause";
      timer = setInterval(() => (Number(scrub.value) === last ? stop() : turn(Number(scrub.value) + 1)), 600);
    });
    scrub.parentElement.hidden = last === 0;
    turn(last);
  }

  // -- the rest -----------------------------------------------------------------------------------------------

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 1500);
      } catch {
        getSelection().selectAllChildren(code); // no clipboard here: leave it selected for the reader to copy
      }
    });
  }

  // Wide tables fade out where they go on.
  for (const wide of document.querySelectorAll(".scroll")) {
    const fade = () => wide.classList.toggle("more", wide.scrollWidth - wide.clientWidth - wide.scrollLeft > 1);
    wide.addEventListener("scroll", fade, { passive: true });
    new ResizeObserver(fade).observe(wide);
  }

  const state = find("state");
  if (state.dataset.until && Date.now() / 1000 > Number(state.dataset.until)) {
    state.textContent = state.dataset.later;
    state.className = "state stopped";
  }

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
})();
