"use strict";
(() => {
  const LIGHT = {
    lines: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"],
    text: "#1b1f24", grid: "#e3e7eb", axis: "#8b949e", card: "#ffffff",
  };
  const DARK = {
    lines: ["#5AB0F0", "#FF9152", "#34C79D", "#EBA3CB", "#F5BF45", "#A9DBFA", "#F2F2F2"],
    text: "#e4e7eb", grid: "#2b323b", axis: "#77818d", card: "#1d2229",
  };
  const GLYPHS = {
    circle: "<circle cx='14' cy='6' r='4'/>",
    square: "<rect x='10' y='2' width='8' height='8'/>",
    "triangle-up": "<path d='M14 1l5 9H9z'/>",
    diamond: "<path d='M14 0.5L19 6l-5 5.5L9 6z'/>",
    "triangle-down": "<path d='M14 11L9 2h10z'/>",
    cross: "<path d='M12 1h4v3h3v4h-3v3h-4V8H9V4h3z'/>",
    x: "<path d='M10 1l4 3 4-3 1 1.5-3 3.5 3 3.5-1 1.5-4-3-4 3-1-1.5 3-3.5-3-3.5z'/>",
    star: "<path d='M14 0l1.5 4.3h4.5l-3.6 2.7 1.3 4.5-3.7-2.7-3.7 2.7 1.3-4.5L8 4.3h4.5z'/>",
  };
  const DASHES = { solid: "", dash: "6 3", dot: "2 2", dashdot: "6 2 2 2", longdash: "10 3" };
  const PRINTED = 680;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;

  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const theme = () => (dark.matches && !printing ? DARK : LIGHT);

  function charts() {
    return [...document.querySelectorAll(".drawn")].map((box) => {
      const name = box.dataset.chart;
      return {
        panels: read(`${name}-panels`),
        view: 0,
        hidden: new Set(),
        div: document.getElementById(`${name}-plot`),
        legend: box.querySelector(".legend"),
        note: document.getElementById(`${name}-note`),
        select: document.getElementById(`${name}-view`),
      };
    });
  }

  function traces(chart, look) {
    return structuredClone(chart.panels[chart.view].data).map((trace) => {
      const colour = look.lines[trace.meta.colour] ?? look.text;
      trace.visible = !chart.hidden.has(trace.meta.owner);
      trace.hoverlabel = { align: "left", namelength: 0 };
      if (trace.type === "bar") {
        trace.marker = { color: colour };
        return trace;
      }
      trace.line.color = colour;
      if (trace.marker) trace.marker.color = colour;
      if (trace.error_y) trace.error_y.color = colour;
      return trace;
    });
  }

  function layout(chart, look) {
    const made = structuredClone(chart.panels[chart.view].layout);
    for (const axis of [made.xaxis, made.yaxis]) {
      Object.assign(axis, {
        gridcolor: look.grid, linecolor: look.axis, tickcolor: look.axis, ticks: "outside",
        zerolinecolor: look.grid, showline: true,
      });
    }
    Object.assign(made, {
      font: { color: look.text, size: 13, family: getComputedStyle(document.body).fontFamily },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 60, r: 18, t: 14, b: 48 },
      hoverlabel: { bgcolor: look.card, bordercolor: look.axis, font: { color: look.text } },
      modebar: { color: look.axis, activecolor: look.text, bgcolor: "rgba(0,0,0,0)" },
      autosize: true,
    });
    if (printing) Object.assign(made, { autosize: false, width: PRINTED, height: 320 });
    return made;
  }

  const drawing = (inner, colour) =>
    `<svg viewBox='0 0 28 12' aria-hidden='true' fill='${colour}' stroke-width='2'>${inner}</svg>`;
  const stroke = (dash, colour) =>
    `<path d='M0 6h28' stroke='${colour}' stroke-dasharray='${DASHES[dash] || ""}'/>`;

  function swatch(trace, colour) {
    const symbol = trace.marker && [].concat(trace.marker.symbol)[0];
    const glyph = trace.type === "bar" ? GLYPHS.square : GLYPHS[String(symbol).replace("-open", "")];
    const line = trace.type === "bar" || trace.mode === "markers" ? ""
      : stroke(trace.line.dash, colour);
    return drawing(line + (glyph || ""), colour);
  }

  // The names are escaped already, as plotly wants them: this undoes it, and makes text of them.
  const plain = (name) => new DOMParser().parseFromString(name, "text/html").body.textContent;

  function legend(chart, look) {
    chart.legend.replaceChildren();
    const shown = chart.panels[chart.view].data.filter((trace) => !trace.meta.reference);
    for (const trace of shown) {
      const button = document.createElement("button");
      button.type = "button";
      button.innerHTML = swatch(trace, look.lines[trace.meta.colour]);
      button.append(plain(trace.name));
      button.setAttribute("aria-pressed", String(!chart.hidden.has(trace.meta.owner)));
      button.addEventListener("click", () => {
        const owner = trace.meta.owner;
        if (!chart.hidden.delete(owner)) chart.hidden.add(owner);
        button.setAttribute("aria-pressed", String(!chart.hidden.has(owner)));
        plot(chart);
      });
      chart.legend.append(button);
    }
    for (const { name, dash } of chart.panels[chart.view].across) {
      const entry = document.createElement("span");
      entry.innerHTML = drawing(stroke(dash, look.text), look.text);
      entry.append(plain(name));
      chart.legend.append(entry);
    }
  }

  function plot(chart) {
    const look = theme();
    // Named one by one: the default ones can send a chart to a server.
    const buttons = ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"];
    const config = {
      responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtons: [buttons],
      showSendToCloud: false, showEditInChartStudio: false, plotlyServerURL: "",
    };
    Plotly.react(chart.div, traces(chart, look), layout(chart, look), config);
  }

  function draw(chart) {
    const panel = chart.panels[chart.view];
    chart.note.textContent = panel.note;
    const title = panel.layout.yaxis.title.text || panel.layout.xaxis.title.text;
    const heading = chart.div.closest(".chart").querySelector("h3").textContent;
    chart.div.setAttribute("aria-label", `${heading}: ${plain(title)}; the numbers follow`);
    legend(chart, theme());
    plot(chart);
  }

  async function copy(text, button) {
    const said = button.parentElement.querySelector(".said");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      button.focus();
      if (!done) {
        said.textContent = "Not allowed here; select the text and copy it.";
        return;
      }
    }
    said.textContent = "Copied.";
    setTimeout(() => { said.textContent = ""; }, 4000);
  }

  // A spreadsheet would run text that begins like a formula.
  const unformulated = (text) => (/^[=+\-@\t]/.test(text) ? `'${text}` : text);

  function csv(id) {
    const { columns, rows } = read(id);
    const field = (value) => {
      if (value === null) return "";
      const text = typeof value === "string" ? unformulated(value) : String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns, ...rows].map((row) => row.map(field).join(",")).join("\n") + "\n";
  }

  const all = charts();
  const redraw = () => all.forEach(draw);
  for (const chart of all) {
    if (chart.select) {
      chart.select.value = "0";
      chart.select.addEventListener("change", () => {
        chart.view = Number(chart.select.value);
        draw(chart);
      });
    }
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    const code = document.getElementById(button.dataset.copy);
    button.addEventListener("click", () => copy(code.textContent + "\n", button));
  }
  for (const button of document.querySelectorAll("[data-csv]")) {
    button.addEventListener("click", () => copy(csv(button.dataset.csv), button));
  }
  redraw();
  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => { printing = true; redraw(); });
  addEventListener("afterprint", () => { printing = false; redraw(); });
})();
