// Draws the plots of the page with uPlot, from the JSON that stands in it. Text is only ever set as text.
"use strict";
(() => {
  const root = document.documentElement;
  const runs = JSON.parse(document.getElementById("runs").textContent);
  const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif";
  const SECOND = 1, MINUTE = 60, HOUR = 3600, DAY = 86400;
  const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800,
    HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY];
  const PAPER_WIDTH = 640; // fits A4 and Letter with their margins
  const HINT = "Point at a plot to read it; drag to zoom, double-click to see all. On the keyboard: arrows, plus, minus, Escape.";
  const drawn = [];

  // ---- words for numbers ---------------------------------------------------------------------------------------

  const UNITS = {
    watts: [[1e6, "MW"], [1e3, "kW"], [1, "W"], [1e-3, "mW"]],
    joules: [[3.6e9, "MWh"], [3.6e6, "kWh"], [3.6e3, "Wh"], [1, "J"], [1e-3, "mJ"]],
    grams: [[1e6, "t"], [1e3, "kg"], [1, "g"], [1e-3, "mg"], [1e-6, "µg"]],
    perKwh: [[1, "g/kWh"]],
    bare: [[1, ""]],
    seconds: [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [1, "s"], [1e-3, "ms"]],
  };

  function unitFor(value, units) {
    const size = Math.abs(value);
    return units.find(([one]) => size >= one * 0.9995) || (size === 0 ? units.find(([one]) => one === 1) : units[units.length - 1]);
  }

  function digits(value, count) {
    if (value === 0) return "0";
    const decimals = count - 1 - Math.floor(Math.log10(Math.abs(Number(value.toPrecision(count)))));
    return value.toFixed(Math.min(100, Math.max(0, decimals)));
  }

  function amount(value, units) {
    if (value === null || value === undefined) return "unknown";
    const [one, name] = unitFor(value, units);
    return `${digits(value / one, 3)}\u00a0${name}`;
  }

  function duration(seconds) {
    if (seconds < 119.5) return amount(seconds, [[1, "s"], [1e-3, "ms"]]);
    const whole = Math.round(seconds);
    const parts = [[Math.floor(whole / DAY), "d"], [Math.floor(whole / HOUR) % 24, "h"], [Math.floor(whole / MINUTE) % 60, "min"], [whole % 60, "s"]];
    const first = parts.findIndex(([value]) => value > 0);
    return parts.slice(first, first + 2).map(([value, unit]) => `${value}\u00a0${unit}`).join(" ");
  }

  // Ticks of one axis share a unit, are round numbers of it, and have no more digits than their distance asks for.
  const ROUND = [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power));

  function valueAxis(units, side, more) {
    const unit = (u) => unitFor(Math.max(Math.abs(u.scales.y.min), Math.abs(u.scales.y.max)), units);
    return axis(side ?? 3, (u, splits) => {
      const [one, name] = unit(u);
      const distance = splits.length > 1 ? (splits[1] - splits[0]) / one : 1;
      const decimals = Math.min(6, Math.max(0, -Math.floor(Math.log10(distance) + 1e-9)));
      return splits.map((value) => value === 0 ? "0" : `${(value / one).toFixed(decimals)} ${name}`.trim());
    }, {
      size: 62, space: 32,
      incrs: (u) => ROUND.map((step) => step * unit(u)[0]),
      splits: (u, index, low, high, step) => {
        const out = [];
        for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) out.push(k * step);
        return out;
      },
      ...more,
    });
  }

  function times(u, splits, axis, space, step) {
    return splits.map((t) => {
      if (t === 0) return "0";
      const [days, hours, minutes, seconds] = [Math.floor(t / DAY), Math.floor(t / HOUR) % 24, Math.floor(t / MINUTE) % 60, t % MINUTE];
      if (step < SECOND) return `${t.toFixed(Math.ceil(-Math.log10(step)))} s`;
      if (step < MINUTE) return t < 2 * MINUTE ? `${t} s` : seconds === 0 ? `${Math.floor(t / MINUTE)} min` : "";
      if (step < HOUR) return t < 2 * HOUR ? `${Math.floor(t / MINUTE)} min` : minutes === 0 ? `${Math.floor(t / HOUR)} h` : "";
      if (step < DAY) return t < 2 * DAY ? `${Math.floor(t / HOUR)} h` : hours === 0 ? `${days} d` : `${days} d ${hours} h`;
      return `${days} d`;
    });
  }

  // ---- colours ---------------------------------------------------------------------------------------------------

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // Devices of one kind have one hue; the further down the list, the paler.
  function shade(kind, index, count) {
    const share = count > 1 ? 100 - 55 * index / (count - 1) : 100;
    const hex = colour(`--${kind}`), paper = colour("--paper");
    const part = (text, from) => parseInt(text.slice(from, from + 2), 16);
    const mixed = [1, 3, 5].map((from) => Math.round((part(hex, from) * share + part(paper, from) * (100 - share)) / 100));
    return `rgb(${mixed.join(",")})`;
  }

  function shades(lines) {
    const counts = {}, seen = {};
    for (const line of lines) counts[line.kind] = (counts[line.kind] || 0) + 1;
    return lines.map((line) => {
      seen[line.kind] = (seen[line.kind] ?? -1) + 1;
      return shade(line.kind, seen[line.kind], counts[line.kind]);
    });
  }

  // ---- what all plots have ---------------------------------------------------------------------------------------

  function make(tag, className, parent) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (parent) parent.append(node);
    return node;
  }

  function axis(side, values, more) {
    return {
      side, values, font: FONT, stroke: colour("--soft"), ticks: { stroke: colour("--line"), width: 1, size: 5 },
      grid: { stroke: colour("--grid"), width: 1 }, ...more,
    };
  }

  const timeAxis = () => axis(2, times, { incrs: STEPS, space: 70, size: 34 });
  const fromZero = (u, low, high) => [0, high > 0 ? high * 1.08 : 1];

  function epochLines(epochs) {
    return (u) => {
      const { ctx, bbox } = u, ratio = devicePixelRatio;
      let lastLine = -Infinity, lastText = -Infinity;
      ctx.save();
      ctx.strokeStyle = colour("--mark");
      ctx.fillStyle = colour("--soft");
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.textAlign = "right";
      ctx.textBaseline = "top";
      ctx.lineWidth = ratio;
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      for (const [t, n] of epochs) {
        const x = Math.round(u.valToPos(t, "x", true));
        if (x < bbox.left || x > bbox.left + bbox.width || x - lastLine < 12 * ratio) continue;
        lastLine = x;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const width = ctx.measureText(String(n)).width;
        if (x - width - 8 * ratio > Math.max(lastText, bbox.left)) {
          ctx.fillText(String(n), x - 3 * ratio, bbox.top + 2 * ratio);
          lastText = x;
        }
      }
      ctx.restore();
    };
  }

  // Whiskers from low to high of each point: along y, or along the bars where these lie.
  function whiskers(points, lying) {
    return (u) => {
      const { ctx } = u, ratio = devicePixelRatio, half = 4 * ratio;
      ctx.save();
      ctx.strokeStyle = colour("--ink");
      ctx.lineWidth = 1.5 * ratio;
      ctx.setLineDash([]);
      ctx.beginPath();
      for (const [at, low, high] of points) {
        const middle = u.valToPos(at, "x", true), from = u.valToPos(low, "y", true), to = u.valToPos(high, "y", true);
        const draw = (x0, y0, x1, y1) => { lying ? (ctx.moveTo(y0, x0), ctx.lineTo(y1, x1)) : (ctx.moveTo(x0, y0), ctx.lineTo(x1, y1)); };
        draw(middle, from, middle, to);
        draw(middle - half, from, middle + half, from);
        draw(middle - half, to, middle + half, to);
      }
      ctx.stroke();
      ctx.restore();
    };
  }

  function plain(place, height, series, scales, axes, hooks, group, more) {
    return {
      width: place.clientWidth || PAPER_WIDTH, height, series, scales, axes, padding: [10, 26, 0, 0], legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: group !== null, y: false, setScale: group !== null }, ...(group ? { sync: { key: group.key } } : {}) },
      hooks: { ...hooks, ...(group ? { setScale: [(u, key) => follow(u, key, group)] } : {}) },
      ...more,
    };
  }

  // Plots over the time of one run show the same stretch of it.
  function follow(u, key, group) {
    const { min, max } = u.scales.x;
    if (key !== "x" || min == null) return;
    for (const other of group.plots) {
      if (other !== u && (other.scales.x.min !== min || other.scales.x.max !== max)) other.setScale("x", { min, max });
    }
  }

  // ---- the plots: each gives {options, data, tell(index), items?} ---------------------------------------------------

  const held = (values) => [...values, values[values.length - 1]]; // a stretch's value holds up to its end

  function power(run, place, group, hidden) {
    const lines = run.lines, colours = shades(lines), stepped = uPlot.paths.stepped({ align: 1 });
    const shown = lines.map((_, index) => index).filter((index) => !hidden.has(index));
    const stack = shown.filter((index) => lines[index].counted), beside = shown.filter((index) => !lines[index].counted);
    const sum = run.t.map(() => 0);
    const stacked = stack.map((index) => {
      held(lines[index].watts).forEach((watts, at) => { sum[at] += watts || 0; });
      return [...sum];
    }).reverse(); // the highest first, so that each one lies over what is above it
    const series = [{}];
    [...stack].reverse().forEach((index) => series.push({
      scale: "y", paths: stepped, fill: colours[index], width: 0, points: { show: false },
    }));
    beside.forEach((index) => series.push({
      scale: "y", paths: stepped, stroke: colours[index], width: 1.5, dash: [6, 4], points: { show: false },
    }));
    const data = [run.t, ...stacked, ...beside.map((index) => held(lines[index].watts))];
    const at = (index, k) => lines[index].watts[Math.min(k, lines[index].watts.length - 1)];
    const known = (k) => stack.map((index) => at(index, k)).filter((watts) => watts !== null);
    return {
      options: plain(place, 300, series, { x: { time: false }, y: { range: fromZero } }, [timeAxis(), valueAxis(UNITS.watts)],
        { draw: [epochLines(run.epochs)] }, group),
      data,
      tell: (k) => [`${duration(run.t[k])}: ${amount(known(k).length ? known(k).reduce((a, b) => a + b, 0) : null, UNITS.watts)} together`,
        ...shown.map((index) => `${lines[index].name} ${amount(at(index, k), UNITS.watts)}`)],
      items: lines.map((line, index) => ({
        name: line.name + (line.counted ? "" : " (beside the total)"), colour: colours[index], value: (k) => amount(at(index, k), UNITS.watts),
      })),
    };
  }

  function intensity(run, place, group) {
    // On the times of the run, so that one cursor serves all plots of it.
    const steps = run.intensity;
    let step = 0;
    const data = run.t.map((time) => {
      while (step < steps.length - 1 && time >= steps[step][1]) step += 1;
      return steps[step][2];
    });
    const stroke = colour("--carbon");
    return {
      options: plain(place, 150, [{}, { scale: "y", stroke, fill: `${stroke}22`, width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
        { x: { time: false }, y: { range: fromZero } }, [timeAxis(), valueAxis(UNITS.bare)], {}, group),
      data: [run.t, data],
      tell: (k) => [`${duration(run.t[k])}: ${amount(data[k], UNITS.perKwh)}`],
    };
  }

  function grams(run, place, group) {
    const stroke = colour("--accent");
    return {
      options: plain(place, 200, [{}, { scale: "y", stroke, fill: `${stroke}22`, width: 2, points: { show: false } }],
        { x: { time: false }, y: { range: fromZero } }, [timeAxis(), valueAxis(UNITS.grams)], {}, group),
      data: [run.t, run.grams],
      tell: (k) => [`${duration(run.t[k])}: ${amount(run.grams[k], UNITS.grams)} so far`],
    };
  }

  function clip(text, width) {
    const most = Math.floor((width - 12) / 7);
    return text.length > most ? `${text.slice(0, most - 4)}…${text.slice(-3)}` : text; // the end tells one of many from the next
  }

  // One lying bar for each of [{name, colour, value, low, high}].
  function bars(rows, place) {
    const names = Math.min(180, Math.max(70, (place.clientWidth || PAPER_WIDTH) * 0.28));
    const at = rows.map((_, index) => index);
    const series = [{}], data = [at];
    rows.forEach((row, index) => {
      series.push({ scale: "y", fill: row.colour, stroke: row.colour, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.62, 34] }) });
      data.push(at.map((one) => one === index ? row.value : null));
    });
    const scales = {
      x: { time: false, ori: 1, dir: -1, range: [-0.6, rows.length - 0.4] },
      y: { ori: 0, range: (u, low, high) => fromZero(u, low, Math.max(...rows.map((row) => row.high ?? row.value))) },
    };
    const axes = [
      axis(3, (u, splits) => splits.map((one) => Number.isInteger(one) && rows[one] ? clip(rows[one].name, names) : ""),
        { size: names, splits: () => at, grid: { show: false }, ticks: { show: false } }),
      valueAxis(UNITS.joules, 2, { space: 70, size: 34 }),
    ];
    const lines = rows.map((row, index) => [index, row.low, row.high]).filter(([, low]) => low !== undefined);
    return {
      options: plain(place, 60 + 34 * rows.length, series, scales, axes, { draw: [whiskers(lines, true)] }, null,
        { cursor: { show: true, x: false, y: false, points: { show: false }, drag: { x: false, y: false } } }),
      data,
      tell: (k) => [`${rows[k].name}: ${amount(rows[k].value, UNITS.joules)}` +
        (rows[k].low === undefined ? "" : ` (${amount(rows[k].low, UNITS.joules)} to ${amount(rows[k].high, UNITS.joules)})`)],
    };
  }

  function devices(run, place) {
    const colours = shades(run.devices);
    return bars(run.devices.map((device, index) => ({ ...device, colour: colours[index] })), place);
  }

  function share(run, place) {
    const [job, rest] = run.share;
    return bars([{ name: "the job", colour: colour("--accent"), value: job }, { name: "rest of the node", colour: colour("--mark"), value: rest }], place);
  }

  function predicted(run, place, group, hidden, key) {
    const told = run.predicted[key];
    const units = { energy_joules: UNITS.joules, co2e_grams: UNITS.grams, duration_seconds: UNITS.seconds }[key];
    const write = key === "duration_seconds" ? duration : (value) => amount(value, units);
    // The actual value is a line over the whole plot, so that it gets the ends as points of its own.
    const after = [...new Set([0, ...told.after, told.planned])].sort((a, b) => a - b);
    const on = (values) => after.map((one) => { const k = told.after.indexOf(one); return k < 0 ? null : values[k]; });
    const actual = told.stopped ? null : told.actual;
    const stroke = colour("--cpu");
    const series = [{},
      { scale: "y", stroke: colour("--band"), width: 1, points: { show: false } },
      { scale: "y", stroke: colour("--band"), width: 1, points: { show: false } },
      { scale: "y", stroke, width: 2, points: { show: told.after.length <= 40, size: 6, fill: stroke } },
      { scale: "y", stroke: colour("--actual"), width: 2, dash: [6, 4], points: { show: false } }];
    const few = told.after.length === 1 ? told.after.map((one, k) => [one, told.low[k], told.high[k]]) : [];
    return {
      options: plain(place, 220, series, { x: { time: false, range: [0, told.planned] }, y: { range: (u, low, high) => uPlot.rangeNum(low, high, 0.12, false) } },
        [axis(2, (u, splits) => splits.map((one) => Number.isInteger(one) ? one : ""), { space: 40, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000], label: "after epoch", labelSize: 18, labelFont: FONT }), valueAxis(units)],
        { draw: [whiskers(few, false)] }, null, { bands: [{ series: [2, 1], fill: colour("--band") }] }),
      data: [after, on(told.low), on(told.high), on(told.value), after.map(() => actual)],
      tell: (k) => {
        const made = told.after.indexOf(after[k]);
        const words = made < 0 ? "no prediction" : `${write(told.value[made])} (${write(told.low[made])} to ${write(told.high[made])})`;
        return [`after epoch ${after[k]} of ${told.planned}: ${words}`, ...(actual === null ? [] : [`actual ${write(actual)}`])];
      },
    };
  }

  const PLOTS = { power, intensity, grams, devices, share, predicted };

  // ---- putting them into the page ----------------------------------------------------------------------------------

  const groups = runs.map((_, index) => ({ key: `run ${index + 1}`, plots: [] }));

  function draw(entry) {
    const { place, run, group, kind, detail } = entry;
    const timed = kind === "power" || kind === "intensity" || kind === "grams";
    const spec = PLOTS[kind](run, place, timed ? group : null, entry.hidden, detail);
    const scale = entry.plot && timed ? { min: entry.plot.scales.x.min, max: entry.plot.scales.x.max } : null;
    if (entry.plot) {
      group.plots = group.plots.filter((one) => one !== entry.plot);
      entry.plot.destroy();
    }
    spec.options.hooks.setCursor = [(u) => read(entry, u.cursor.idx)];
    entry.spec = spec;
    entry.plot = new uPlot(spec.options, spec.data, place);
    entry.plot.root.querySelector("canvas").setAttribute("aria-hidden", "true");
    if (timed) group.plots.push(entry.plot);
    if (scale && scale.min != null) entry.plot.setScale("x", scale);
    if (spec.items) legend(entry);
  }

  function legend(entry) {
    if (!entry.legend) {
      entry.legend = make("ul", "legend");
      entry.place.after(entry.legend);
      entry.legend.setAttribute("aria-label", "Devices: press to leave one out of the plot");
      entry.values = entry.spec.items.map((item, index) => {
        const button = make("button", "", make("li", "", entry.legend));
        button.type = "button";
        make("i", "", button);
        make("span", "", button).textContent = item.name;
        button.addEventListener("click", () => {
          if (!entry.hidden.delete(index)) entry.hidden.add(index);
          draw(entry);
        });
        return { button, value: make("b", "", button) };
      });
    }
    entry.spec.items.forEach((item, index) => {
      const { button } = entry.values[index];
      button.setAttribute("aria-pressed", String(!entry.hidden.has(index)));
      button.querySelector("i").style.background = item.colour;
    });
  }

  function read(entry, index) {
    const known = index !== null && index !== undefined;
    entry.at = known ? index : null;
    entry.readout.textContent = known ? entry.spec.tell(index).join(", ") : entry.kind === "power" ? HINT : "";
    if (entry.spec.items) {
      if (known) [entry.readout.textContent] = entry.spec.tell(index); // the devices' own stand in the legend
      entry.spec.items.forEach((item, k) => { entry.values[k].value.textContent = known ? item.value(index) : ""; });
    }
  }

  function move(entry, step) {
    const u = entry.plot, [t] = u.data, last = t.length - 1;
    const lying = u.scales.x.ori === 1, { min, max } = u.scales.x;
    let next = Number.isFinite(step) ? (entry.at === null ? (step > 0 ? 0 : last) : entry.at + step) : step > 0 ? last : 0;
    next = Math.min(last, Math.max(0, next));
    while (next < last && t[next] < min) next += 1;
    while (next > 0 && t[next] > max) next -= 1;
    if (lying) read(entry, next);
    else u.setCursor({ left: u.valToPos(t[next], "x"), top: 10 }, true);
    entry.said.textContent = entry.spec.tell(next).join(", ");
  }

  function zoom(entry, factor) {
    const u = entry.plot, [t] = u.data;
    if (!entry.timed) return;
    const { min, max } = u.scales.x;
    const middle = entry.at === null ? (min + max) / 2 : t[entry.at];
    const half = factor === 0 ? Infinity : (max - min) * factor / 2;
    u.setScale("x", { min: Math.max(t[0], middle - half), max: Math.min(t[t.length - 1], middle + half) });
  }

  function keys(entry, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = Math.max(1, Math.round(entry.plot.data[0].length / 20));
    const acts = {
      ArrowRight: () => move(entry, event.shiftKey ? far : 1), ArrowLeft: () => move(entry, event.shiftKey ? -far : -1),
      ...(entry.plot.scales.x.ori === 1 ? { ArrowDown: () => move(entry, 1), ArrowUp: () => move(entry, -1) } : {}),
      Home: () => move(entry, -Infinity), End: () => move(entry, Infinity),
      "+": () => zoom(entry, 0.5), "=": () => zoom(entry, 0.5), "-": () => zoom(entry, 2), Escape: () => zoom(entry, 0),
    };
    if (acts[event.key]) {
      event.preventDefault();
      acts[event.key]();
    }
  }

  for (const place of document.querySelectorAll("[data-plot]")) {
    const number = Number(place.dataset.run) - 1, [kind, detail] = place.dataset.plot.split("-");
    const entry = { place, run: runs[number], group: groups[number], kind, detail, hidden: new Set(), at: null, timed: ["power", "intensity", "grams"].includes(kind) };
    entry.readout = make("p", "readout");
    entry.readout.setAttribute("aria-hidden", "true"); // what is said aloud stands in its own place, and only for keys
    entry.said = make("p", "unseen");
    entry.said.setAttribute("aria-live", "polite");
    place.after(entry.readout, entry.said);
    place.tabIndex = 0;
    place.addEventListener("keydown", (event) => keys(entry, event));
    draw(entry);
    read(entry, null);
    drawn.push(entry);
  }

  // ---- light and dark, narrow and wide, paper ------------------------------------------------------------------------

  const all = () => drawn.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);

  let paper = false;
  const resized = new ResizeObserver((changes) => {
    if (paper) return;
    for (const { target } of changes) {
      const entry = drawn.find((one) => one.place === target);
      if (entry && target.clientWidth && Math.abs(target.clientWidth - entry.plot.width) > 1) draw(entry);
    }
  });
  drawn.forEach((entry) => resized.observe(entry.place));

  const opened = new Set();
  addEventListener("beforeprint", () => {
    paper = true;
    root.classList.add("on-paper");
    for (const one of document.querySelectorAll("details:not([open])")) { one.open = true; opened.add(one); }
    all();
    for (const { plot, place } of drawn) plot.setSize({ width: place.closest(".three") ? 290 : PAPER_WIDTH, height: plot.height });
  });
  addEventListener("afterprint", () => {
    paper = false;
    root.classList.remove("on-paper");
    for (const one of opened) one.open = false;
    opened.clear();
    all();
  });

  root.dataset.drawn = String(drawn.length);
})();
