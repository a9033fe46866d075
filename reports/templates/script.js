"use strict";
// Sorts and filters the tables of candidates, draws the charts in the reader's theme, copies commands.
// Everything shown was decided before: this script only picks and orders it.
(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  document.documentElement.classList.add("js");

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== false && value !== undefined && value !== "") made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== ""));
    return made;
  };

  // ---- tables -------------------------------------------------------------------------------------------------
  const FEASIBLE = 1, PARETO = 2, TIED = 4, RECOMMENDED = 8, REPRESENTATIVE = 16; // as in candidates_table.py
  const FIGURES = ["accuracy", "latency", "artifact", "memory", "train_seconds"];
  const DETAILS = [...FIGURES, "latency_p90"];
  const DOWNWARD = new Set(["accuracy", "odds"]); // more is better: the first click shows the best on top

  const shared = JSON.parse(document.getElementById("shared").textContent);
  const PROVENANCES = { m: "measured", p: "published", e: "estimated" };
  const figures = shared.figures.map(([value, text, interval, provenance, source]) => ({
    value, text, interval, provenance: PROVENANCES[provenance], source: shared.texts[source],
  }));
  const unpack = ([rank, backboneNumber, execution, freeze, frozen, figs, oddsText, regret, flags, violations, conflicts]) => {
    const [backbone, family, params, macs, total] = shared.backbones[backboneNumber];
    const [runtime, precision, resolution] = shared.executions[execution];
    const row = {
      rank, backbone, family, params, macs, total, runtime, precision, resolution, freeze: shared.texts[freeze], frozen,
      oddsText, regret, flags, violations: violations.map((i) => shared.texts[i]), conflicts: conflicts.map((i) => shared.texts[i]),
    };
    DETAILS.forEach((name, i) => { row[name] = figs[i] < 0 ? null : figures[figs[i]]; });
    row.haystack = [backbone, words["family_" + family], row.freeze, runtime, precision, resolution].join(" ").toLowerCase();
    return row;
  };

  const plainNumber = (text) => (text === "" ? null : Number(text.replace("< 0.1", "0.05").replaceAll(",", "")));
  const sortValue = (row, column) => {
    if (FIGURES.includes(column)) return row[column] ? row[column].value : null;
    if (column === "odds") return plainNumber(row.oddsText);
    if (column === "freeze") return row.total ? row.frozen / row.total : 0;
    if (column === "runs") return `${row.runtime} ${row.precision} ${String(row.resolution).padStart(4, "0")}`;
    if (column === "params" || column === "macs" || column === "regret") return plainNumber(row[column]);
    return row[column];
  };
  const compare = (column, sign) => (a, b) => {
    const x = sortValue(a, column), y = sortValue(b, column);
    if (x === null || y === null) return (x === null) - (y === null) || a.rank - b.rank; // unknown ones last, either way
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return sign * order || a.rank - b.rank;
  };

  const mark = (figure) => element("span", {
    class: `mark ${figure.provenance}`, title: `${words["provenance_" + figure.provenance]}: ${figure.source}`,
  }, words["provenance_letter_" + figure.provenance]);
  const chip = (kind, label, title) => element("span", { class: `chip ${kind}`, title }, label);

  const figureCell = (figure) => {
    if (!figure) return element("td", { class: "number unknown" }, "–");
    return element("td", { class: "number" }, element("span", { class: "value" }, figure.text), mark(figure),
      figure.interval ? element("small", {}, figure.interval) : null);
  };
  const numberCell = (text) => element("td", { class: "number" }, text === "" ? "–" : text);
  const sourcesRow = (row, columns, id) => {
    const list = element("dl", { class: "sources-of" });
    for (const name of DETAILS) {
      const figure = row[name];
      if (!figure && name === "latency_p90") continue; // most sources state none
      list.append(element("dt", {}, figure ? mark(figure) : "", words["table_" + name]),
        element("dd", {}, figure ? `${figure.text}${figure.interval ? ` [${figure.interval}]` : ""} · ${figure.source}` : words.table_unknown));
    }
    for (const text of row.violations) list.append(element("dt", {}, words.table_infeasible), element("dd", {}, text));
    for (const text of row.conflicts) list.append(element("dt", {}, words.table_conflict), element("dd", {}, text));
    return element("tr", { class: "sources", id }, element("td", { colspan: columns }, list));
  };
  const tableRow = (row, columns, id) => {
    const button = element("button", {
      type: "button", "aria-expanded": "false", title: words.table_details.replace("{name}", row.backbone),
    }, row.backbone);
    const made = element("tr", { class: `${row.flags & RECOMMENDED ? "chosen" : ""}${row.flags & FEASIBLE ? "" : " out"}` },
      element("td", { class: "number" }, String(row.rank)),
      element("th", { scope: "row" }, element("span", { class: `family ${row.family}`, title: words["family_" + row.family] }), button,
        element("div", { class: "chips" },
          row.flags & RECOMMENDED ? chip("recommended", "★ " + words.table_recommended) : "",
          row.flags & PARETO ? chip("pareto", words.table_pareto) : "",
          row.flags & TIED ? chip("tied", words.table_tied) : "",
          row.flags & FEASIBLE ? "" : chip("out", words.table_infeasible, row.violations.join("; ")))),
      element("td", {}, row.freeze, element("small", {}, `${row.frozen}/${row.total}`)),
      element("td", {}, row.runtime, element("small", {}, `${row.precision} · ${row.resolution} px`)),
      figureCell(row.accuracy), figureCell(row.latency), ...[row.oddsText, row.regret].map(numberCell),
      figureCell(row.artifact), figureCell(row.memory), figureCell(row.train_seconds), ...[row.params, row.macs].map(numberCell));
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) made.nextElementSibling.remove();
      else made.after(sourcesRow(row, columns, id));
    });
    return made;
  };

  const showFurtherSources = (place, sources) => {
    place?.querySelector("tbody").append(...sources.map(([provenance, source, count]) => element("tr", {},
      element("td", {}, mark({ provenance, source: shared.texts[source] }), words["provenance_" + provenance]),
      element("td", { class: "long" }, shared.texts[source]), element("td", { class: "number" }, String(count)))));
  };

  const startTable = (container) => {
    const held = JSON.parse(container.querySelector("script.rows").textContent);
    const rows = held.rows.map(unpack);
    const headings = [...container.querySelectorAll(".sortable thead th")];
    const body = container.querySelector("tbody");
    const control = (name) => container.querySelector(".filter-" + name);
    const state = { column: "rank", sign: 1 };
    const freezes = control("freeze");
    for (const name of new Set(rows.map((row) => row.freeze))) freezes.append(element("option", { value: name }, name));

    const show = () => {
      const text = control("text").value.trim().toLowerCase().split(/\s+/);
      const family = control("family").value, freeze = freezes.value, feasible = control("feasible").checked;
      const everyDepth = Boolean(control("depths")?.checked) || freeze !== "";
      const kept = rows.filter((row) => (everyDepth || row.flags & REPRESENTATIVE) && (!feasible || row.flags & FEASIBLE)
        && (!family || row.family === family) && (!freeze || row.freeze === freeze) && text.every((t) => row.haystack.includes(t)));
      kept.sort(compare(state.column, state.sign));
      body.replaceChildren(...kept.map((row, i) => tableRow(row, headings.length, `${container.id}-row-${i}`)));
      container.querySelector(".count").textContent = words.table_count.replace("{shown}", kept.length).replace("{total}", rows.length);
      for (const heading of headings) {
        if (heading.dataset.column === state.column) heading.setAttribute("aria-sort", state.sign > 0 ? "ascending" : "descending");
        else heading.removeAttribute("aria-sort");
      }
    };
    for (const heading of headings) {
      heading.querySelector("button").addEventListener("click", () => {
        const column = heading.dataset.column;
        state.sign = state.column === column ? -state.sign : (DOWNWARD.has(column) ? -1 : 1);
        state.column = column;
        show();
      });
    }
    for (const name of ["text", "family", "freeze", "feasible", "depths"]) control(name)?.addEventListener("input", show);
    show();
    showFurtherSources(container.parentElement.querySelector(".further-sources"), held.sources);
  };

  // ---- charts -------------------------------------------------------------------------------------------------
  const locale = { moduleType: "locale", name: "page", dictionary: {
    "Download plot as a PNG": words.chart_button_download, "Download plot as a png": words.chart_button_download,
    "Download plot": words.chart_button_download, Zoom: words.chart_button_zoom, Pan: words.chart_button_pan,
    "Reset axes": words.chart_button_reset,
  }, format: {} };
  const config = {
    responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", locale: "page", locales: { page: locale },
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  const themed = (value, style) => { // "var(--ink)" becomes the colour that the style gives it just now
    if (typeof value === "string") return value.replace(/^var\((--[\w-]+)\)$/, (_, name) => style.getPropertyValue(name).trim());
    if (Array.isArray(value)) return value.map((item) => themed(item, style));
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, style)]));
    return value;
  };
  const draw = (data) => {
    const place = document.getElementById(data.dataset.for);
    if (place.closest("details:not([open])")) return; // drawn when the section opens
    const chart = themed(JSON.parse(data.textContent), getComputedStyle(document.documentElement));
    if (innerWidth < 600) { // a phone: decades only, no names, and room for the bars
      chart.layout.annotations = (chart.layout.annotations ?? []).filter((a) => a.textangle);
      for (const axis of [chart.layout.xaxis, chart.layout.yaxis]) axis.title = { ...axis.title, font: { size: 11 } };
      if (chart.layout.xaxis.type === "log") chart.layout.xaxis.dtick = 1;
      if (chart.layout.yaxis.tickfont) chart.layout.yaxis.tickfont.size = 9;
    }
    place.style.height = `${chart.layout.height}px`; // Plotly places its parts absolutely: on paper nothing else holds the room
    Plotly.react(place, chart.data, chart.layout, config);
  };
  const drawAll = (within = document) => within.querySelectorAll("script.chart-data").forEach(draw);

  // ---- the rest -----------------------------------------------------------------------------------------------
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch { // no clipboard for pages opened from a file, in some browsers: select the text instead
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand("copy");
    }
    const label = button.textContent;
    button.textContent = words.next_copied;
    setTimeout(() => { button.textContent = label; }, 1500);
  };
  const reveal = () => document.getElementById(location.hash.slice(1))?.closest("details.answer")?.setAttribute("open", "");

  document.querySelectorAll(".candidates").forEach(startTable);
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copy(button)));
  document.querySelectorAll("details.answer").forEach((d) => d.addEventListener("toggle", () => { if (d.open) drawAll(d); }));
  addEventListener("hashchange", reveal);
  addEventListener("beforeprint", () => document.querySelectorAll("details.answer").forEach((d) => d.setAttribute("open", "")));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  reveal();
  drawAll();
})();
