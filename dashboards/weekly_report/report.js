// The page's behaviour: language, the site shown, drawing charts, printing. Data comes with the page.
(function () {
  "use strict";
  const Plotly = window.Plotly || window.moduleName;
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const NARROW = 440;
  const PRINT_HEIGHT_RATIO = 0.62;
  const PRINT_NAMES_HEIGHT_RATIO = 0.72;
  const OVERVIEW_HEIGHTS = { fan: 240, hours: 170, waste: 170 };
  const ALONE_HEIGHTS = { fan: 400, hours: 280, waste: 280 };
  const PRINT_HEIGHTS = { fan: 140, hours: 88, waste: 88 };
  const state = { lang: data.language, site: null, pool: "", region: "", product: "", owner: "", week: 0 };
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const byId = (id) => document.getElementById(id);

  // --- state in the address ---------------------------------------------------------------------

  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (["zh", "en"].includes(asked.get("lang"))) state.lang = asked.get("lang");
    state.region = data.regions.some((one) => one.region === asked.get("hub")) ? asked.get("hub") : "";
    state.product = data.tokens && asked.get("product") in data.tokens.products ? asked.get("product") : "";
    state.owner = asked.get("owner") in data.owners ? asked.get("owner") : "";
    const week = data.mapWeeks.find((one) => one.week === asked.get("week"));
    state.week = week ? week.offset : 0;
    if (!data.sites) return;
    const site = data.sites.options.find((option) => option.site_id === asked.get("site"));
    if (site) {
      state.site = site.site_id;
      state.pool = asked.get("pool") || "";
    } else if (state.site === null) {
      state.site = data.sites.first.site;
      state.pool = data.sites.first.pool;
    }
    if (!(memberKey() in data.sites.fan.members)) state.pool = "";
  }

  function writeAddress() {
    const address = new URLSearchParams({ lang: state.lang });
    if (state.region) address.set("hub", state.region);
    if (state.product) address.set("product", state.product);
    if (state.owner) address.set("owner", state.owner);
    if (state.week) address.set("week", mapWeek().week);
    if (state.site !== null) {
      address.set("site", state.site);
      if (state.pool) address.set("pool", state.pool);
    }
    history.replaceState(null, "", "#" + address);
  }

  // Paper has no slider: it shows the week of the report.
  const mapWeek = () => data.mapWeeks.find((one) => one.offset === (root.classList.contains("printing") ? 0 : state.week));
  const memberKey = () => state.site + "\n" + state.pool;

  // --- charts -----------------------------------------------------------------------------------

  function draw(element, figure, height) {
    const layout = Object.assign({}, figure.layout, { template: data.template });
    if (height) compact(layout, height);
    const room = element.parentElement.clientWidth;
    if (room < NARROW) narrow(layout, figure.data, room);
    if (root.classList.contains("printing") && !height) onPaper(layout, figure.data);
    Object.assign(layout, { width: room, autosize: false });
    return Plotly.react(element, figure.data, layout, data.config);
  }

  function smallerMarks(trace) {
    trace.marker = Object.assign({}, trace.marker, { size: trace.marker.size.map((size) => 0.7 * size) });
  }

  // Paper is low; a chart with a name a bar, and the map, need room for the names.
  function onPaper(layout, traces) {
    if (traces[0].meta === "gaps") return; // a row a site is low enough
    const isMap = Boolean(layout.yaxis.scaleanchor);
    const isNamed = traces.some((trace) => trace.orientation === "h");
    const isMoved = traces.some((trace) => trace.meta === "increase"); // its names have one line each
    layout.height = Math.round((isNamed && !isMoved ? PRINT_NAMES_HEIGHT_RATIO : PRINT_HEIGHT_RATIO) * layout.height);
    if (!isMap && !isNamed) return;
    layout.font = { size: 11 };
    layout.yaxis = Object.assign({}, layout.yaxis, { tickfont: { size: 10 } });
    traces.filter((trace) => trace.meta === "sites").forEach((trace) => {
      trace.textfont = Object.assign({}, trace.textfont, { size: 10 });
      smallerMarks(trace);
    });
  }

  // Beside many of its kind a chart has no legend of its own; the key above them all is the legend.
  function compact(layout, height) {
    layout.height = height;
    layout.showlegend = false;
    layout.font = { size: 11 };
    layout.margin = Object.assign({}, layout.margin, { t: 16, b: 28, l: 44, r: 8 });
    layout.xaxis = Object.assign({}, layout.xaxis, { title: undefined, tickangle: 0, nticks: 6 });
    layout.yaxis = Object.assign({}, layout.yaxis, { title: undefined, nticks: 5 });
  }

  // Small screens: no room for words beside the axes, and the map keeps its shape.
  // Of the map's labels those of hot sites, each on the side of its mark where it is not cut.
  function narrowLabels(trace, layout, room) {
    const [first, last] = layout.xaxis.range;
    const text = trace.text.map((label) => (label.startsWith("<b>") ? label : ""));
    const textposition = text.map((label, index) => {
      const width = [...label.replace(/<[^>]*>/g, "")].reduce((sum, letter) => sum + (letter > "\u2e80" ? 12 : 7.5), 0);
      const left = (trace.x[index] - first) / (last - first) * room;
      if (left + width + 14 > room) return left - width - 14 < 0 ? "cut" : "middle left";
      return left - width / 2 < 0 || trace.textposition[index].endsWith("right") ? "middle right" : trace.textposition[index];
    });
    return { text: text.map((label, index) => (textposition[index] === "cut" ? "" : label)),
      textposition: textposition.map((place) => (place === "cut" ? "top center" : place)) };
  }

  function narrow(layout, traces, room) {
    layout.font = { size: 11 };
    layout.yaxis = Object.assign({}, layout.yaxis, { title: undefined });
    if (layout.yaxis.scaleanchor) layout.height = 420;
    layout.margin = Object.assign({}, layout.margin, { l: 8, r: 8 });
    layout.legend = Object.assign({}, layout.legend, { font: { size: 11 } });
    traces.forEach((trace) => {
      if (trace.meta === "increase" || trace.meta === "decrease") trace.textposition = "none";
      if (trace.orientation === "h") layout.xaxis = Object.assign({}, layout.xaxis, { title: undefined });
      if (trace.meta !== "sites") return;
      Object.assign(trace, narrowLabels(trace, layout, room));
      smallerMarks(trace);
    });
  }

  function copy(figure) {
    return { data: figure.data.map((trace) => Object.assign({}, trace)), layout: figure.layout };
  }

  function memberFigure(family, key) {
    const figure = copy(family.skeletons[state.lang]);
    (family.members[key] || []).forEach((arrays, index) => Object.assign(figure.data[index], arrays));
    return figure;
  }

  const words = (key) => data.words[key][state.lang];
  const option = (value, label) => Object.assign(document.createElement("option"), { value, textContent: label });

  // --- hub region and product -------------------------------------------------------------------

  function fillFilters() {
    byId("choose-region").replaceChildren(
      option("", words("all_regions")), ...data.regions.map((one) => option(one.region, one.name[state.lang])),
    );
    byId("choose-region").value = state.region;
    if (data.tokens) {
      byId("choose-product").replaceChildren(
        option("", words("all_products")),
        ...Object.entries(data.tokens.products).map(([product, name]) => option(product, name[state.lang])),
      );
      byId("choose-product").value = state.product;
    }
    if (byId("choose-owner")) {
      byId("choose-owner").replaceChildren(
        option("", words("all_owners")), ...Object.entries(data.owners).map(([owner, name]) => option(owner, name[state.lang])),
      );
      byId("choose-owner").value = state.owner;
    }
    byId("reset-filters").hidden = !state.region && !state.product && !state.owner;
  }

  function applyFilters() {
    const isShown = (element) => (!state.region || element.dataset.region === state.region)
      && (!state.owner || element.dataset.owner === undefined || element.dataset.owner === state.owner);
    const rows = [...document.querySelectorAll(".decisions tbody tr")];
    document.querySelectorAll("tr[data-region], article[data-region]").forEach((element) => {
      element.hidden = !isShown(element);
    });
    document.querySelectorAll(".regions").forEach((list) => list.classList.toggle("alone", Boolean(state.region)));
    const note = byId("filtered-decisions");
    note.hidden = !state.region && !state.owner;
    note.textContent = note.hidden ? "" : words("filtered_decisions")
      .replace("{shown}", rows.filter(isShown).length).replace("{count}", rows.length);
  }

  const regionPlots = () => [...document.querySelectorAll("article.region:not([hidden]) .plot")];

  function drawRegion(element) {
    const heights = root.classList.contains("printing") ? PRINT_HEIGHTS : state.region ? ALONE_HEIGHTS : OVERVIEW_HEIGHTS;
    const family = element.dataset.family;
    const region = element.closest("article").dataset.region;
    element.hidden = !(region in data.regionFamilies[family].members);
    if (element.hidden) return null;
    const figure = memberFigure(data.regionFamilies[family], region);
    if (family === "hours") figure.data[0].showscale = heights === ALONE_HEIGHTS;
    return draw(element, figure, heights[family]);
  }

  const drawRegions = () => regionPlots().map(drawRegion);

  function tokensFigure() {
    const figure = memberFigure(data.tokens.family, state.region);
    if (state.product) {
      figure.data.forEach((trace) => { if (trace.meta !== state.product) Object.assign(trace, { x: [], y: [] }); });
    }
    return figure;
  }

  function drawTokens() {
    if (!data.tokens) return [];
    const figure = tokensFigure();
    const shown = figure.data.filter((trace) => trace.y && trace.y.length);
    byId("tokens-summary").textContent = (data.tokens.summaries[state.region] || data.tokens.summaries[""])[state.lang];
    const head = byId("tokens-table").tHead.rows[0];
    head.replaceChildren(...[words("column_week"), ...shown.map((trace) => trace.name)].map((text, index) => {
      const cell = Object.assign(document.createElement("th"), { scope: "col", textContent: text });
      cell.translate = false;
      if (index) cell.className = "number";
      return cell;
    }));
    const weeks = [...new Set(shown.flatMap((trace) => trace.x))];
    const values = shown.map((trace) => new Map(trace.x.map((week, index) => [week, trace.y[index]])));
    fillTable(byId("tokens-table"), weeks.map((week) => [
      week, ...values.map((column) => (column.has(week) ? number.format(column.get(week)) : "–")),
    ]));
    return [draw(byId("chart-tokens"), figure)];
  }

  // --- export of what is shown ------------------------------------------------------------------

  // A spreadsheet takes a text that begins so for a formula; an apostrophe in front makes it text.
  function csvCell(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const text = typeof value === "object" ? value[state.lang] : String(value);
    const safe = /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  }

  function exportRows(name) {
    const { columns, rows, region, product, owner } = data.exports[name];
    const isKept = (value, chosen) => value === undefined || !chosen || value === chosen;
    const kept = rows.filter((row) => isKept(row[region], state.region) && isKept(row[product], state.product)
      && isKept(row[owner], state.owner));
    return [columns, ...kept].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
  }

  function download(name) {
    // The mark in front tells spreadsheets that the text is UTF-8.
    const file = new Blob(["\ufeff", exportRows(name)], { type: "text/csv;charset=utf-8" });
    const link = Object.assign(document.createElement("a"), {
      href: URL.createObjectURL(file), download: ["tidegauge", data.week, name, state.region, state.product, state.owner]
        .filter(Boolean).join("-").replace(/[^\w-]+/g, "-") + ".csv",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function filter(chosen) {
    Object.assign(state, chosen);
    if (data.sites && state.region && siteOptions().every((site) => site.site_id !== state.site)) {
      state.site = (siteOptions()[0] || data.sites.options[0]).site_id;
      state.pool = "";
    }
    writeAddress();
    fillFilters();
    applyFilters();
    if (data.sites) fillChoices();
    return Promise.all([...drawRegions(), ...drawTokens(), ...drawSite()]);
  }

  // --- the map's week ---------------------------------------------------------------------------

  const percent = (ratio) => (ratio === null ? "–" : Math.round(100 * ratio) + "%");
  const count = (value) => (value === null ? "–" : number.format(value));
  const mapRows = document.querySelector(".map-rows tbody");
  const rowsOfThisWeek = mapRows ? [...mapRows.rows] : [];

  function networkFigure() {
    const figure = copy(data.charts.network[state.lang]);
    const sites = figure.data.find((trace) => trace.meta === "sites");
    const { offset, bands, sizes, labels, rows } = mapWeek();
    if (!offset) return figure;
    const values = new Map(rows.map(([site, load, , usable]) => [site, [percent(load), count(usable)]]));
    const labelled = new Map(labels[state.lang].map(([index, text, place]) => [index, { text, place }]));
    Object.assign(sites, {
      text: bands.map((_, index) => (labelled.get(index) || { text: "" }).text),
      textposition: bands.map((_, index) => (labelled.get(index) || { place: "top center" }).place),
      marker: Object.assign({}, sites.marker, {
        symbol: bands.map((band) => data.bandMarks[band][0]), color: bands.map((band) => data.bandMarks[band][1]), size: sizes,
      }),
      hovertext: sites.customdata.map((site, index) => {
        const [load, usable] = values.get(site) || [percent(null), count(0)];
        const [name] = sites.hovertext[index].split("<br>"); // escaped where the chart was made
        return words("hover_site").replace("{load}", load).replace("{usable}", usable).replace("{name}", () => name);
      }),
    });
    return figure;
  }

  function fillMapRows() {
    const known = new Map(data.mapWeeks.find((one) => one.offset === 0).rows.map(([site], index) => [site, rowsOfThisWeek[index]]));
    mapRows.replaceChildren(...(mapWeek().offset === 0 ? rowsOfThisWeek : mapWeek().rows.map(([site, load, demand, usable, unmet], index) => {
      const row = known.get(site).cloneNode(true);
      [String(index + 1), null, null, percent(load), count(demand), count(usable), count(unmet)].forEach((text, cell) => {
        if (text !== null) row.cells[cell].textContent = text;
      });
      return row;
    })));
  }

  function showMapWeek() {
    if (!byId("choose-week")) return;
    const { week, offset, says } = mapWeek();
    const slider = byId("choose-week");
    const text = offset ? week + " (" + (offset > 0 ? "+" : "−") + Math.abs(offset) + ")" : week;
    slider.value = offset;
    slider.setAttribute("aria-valuetext", text);
    byId("map-week").textContent = text;
    byId("map-week-says").textContent = says[state.lang];
    byId("this-week").hidden = offset === 0;
    fillMapRows();
  }

  function chooseWeek(offset) {
    state.week = offset;
    writeAddress();
    showMapWeek();
    applyFilters();
    return draw(byId("chart-network"), networkFigure());
  }

  const siteOptions = () => data.sites.options.filter((site) => !state.region || site.region === state.region);

  function drawFixed() {
    return Object.keys(data.charts).map((key) => {
      const figure = key === "network" && mapWeek() ? networkFigure() : copy(data.charts[key][state.lang]);
      return draw(byId("chart-" + key), figure);
    });
  }

  // --- the site that is shown -------------------------------------------------------------------

  function fillChoices() {
    const sites = byId("choose-site");
    const pools = byId("choose-pool");
    const shown = siteOptions();
    sites.replaceChildren(...(shown.length ? shown : data.sites.options).map((site) => option(site.site_id, site.name[state.lang])));
    const chosen = data.sites.options.find((site) => site.site_id === state.site);
    pools.replaceChildren(
      option("", words("all_pools")),
      ...chosen.pools.map((pool) => option(pool.accelerator_id, pool.name[state.lang])),
    );
    sites.value = state.site;
    pools.value = state.pool;
  }

  function fillTable(table, rows) {
    table.tBodies[0].replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((text, index) => {
        const cell = document.createElement("td");
        cell.translate = false;
        if (index > 0 || table.id === "diurnal-table") cell.className = "number";
        cell.textContent = text;
        return cell;
      }));
      return row;
    }));
  }

  function fanRows(figure) {
    const columns = ["demand", "q0.1", "median", "q0.9", "supply", "committed"].map((meta) => {
      const trace = figure.data.find((one) => one.meta === meta);
      const values = meta === "committed" ? trace.text || [] : trace.y || [];
      return new Map((trace.x || []).map((date, index) => [date, values[index]]));
    });
    const dates = [...new Set([...columns[0].keys(), ...columns[2].keys(), ...columns[4].keys()])].sort();
    dates.pop(); // the end of the last step is not a week of its own
    return dates.map((date) => [date, ...columns.map((column) => {
      const value = column.get(date);
      return value === undefined ? "–" : typeof value === "number" ? number.format(value) : value;
    })]);
  }

  function drawSite() {
    if (!data.sites) return [];
    const fan = memberFigure(data.sites.fan, memberKey());
    byId("fan-summary").textContent = data.sites.summaries[memberKey()][state.lang];
    fillTable(byId("fan-table"), fanRows(fan));
    const drawn = [draw(byId("chart-fan"), fan)];
    const hours = data.sites.diurnal.members[state.site];
    byId("diurnal-summary").textContent = data.sites.diurnalSummaries[state.site][state.lang];
    byId("chart-diurnal").hidden = byId("diurnal-details").hidden = !hours;
    if (hours) {
      drawn.push(draw(byId("chart-diurnal"), memberFigure(data.sites.diurnal, state.site)));
      fillTable(byId("diurnal-table"), Array.from({ length: 24 }, (_, hour) => [
        hour + ":00", ...hours[0].z.map((day) => (day[hour] === null ? "–" : day[hour] + "%")),
      ]));
    }
    return drawn;
  }

  function show(site, pool) {
    state.site = site;
    state.pool = pool;
    if (state.region && siteOptions().every((one) => one.site_id !== site)) {
      filter({ region: "" });
      return;
    }
    if (!(memberKey() in data.sites.fan.members)) state.pool = "";
    writeAddress();
    fillChoices();
    drawSite();
  }

  // --- language ---------------------------------------------------------------------------------

  function applyLanguage() {
    root.dataset.language = state.lang;
    root.lang = state.lang === "zh" ? "zh-CN" : "en";
    document.title = data.titles[state.lang];
    document.querySelectorAll("[data-label-zh]").forEach((element) => {
      element.setAttribute("aria-label", element.getAttribute("data-label-" + state.lang));
    });
    document.querySelectorAll("[data-set-language]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.setLanguage === state.lang));
    });
  }

  function drawAll() {
    applyLanguage();
    fillFilters();
    showMapWeek();
    applyFilters();
    if (data.sites) fillChoices();
    return Promise.all([...drawFixed(), ...drawTokens(), ...drawSite()]);
  }

  const redrawAll = () => Promise.all([drawAll(), ...drawRegions()]);

  // --- what the reader does ---------------------------------------------------------------------

  document.querySelectorAll("[data-set-language]").forEach((button) => {
    button.addEventListener("click", () => {
      state.lang = button.dataset.setLanguage;
      writeAddress();
      redrawAll();
    });
  });
  // Links inside the page scroll without taking the place of the state in the address.
  document.querySelectorAll("a.to-section, a.skip, a.to-site").forEach((link) => {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      if (link.dataset.site !== undefined && data.sites) show(link.dataset.site, link.dataset.pool);
      const section = document.querySelector(link.getAttribute("href"));
      section.scrollIntoView();
      section.focus({ preventScroll: true });
    });
  });
  if (data.sites) {
    byId("choose-site").addEventListener("change", (event) => show(event.target.value, ""));
    byId("choose-pool").addEventListener("change", (event) => show(state.site, event.target.value));
  }
  if (byId("choose-week")) {
    byId("choose-week").addEventListener("input", (event) => chooseWeek(Number(event.target.value)));
    byId("this-week").addEventListener("click", () => { chooseWeek(0); byId("choose-week").focus(); });
  }
  byId("choose-region").addEventListener("change", (event) => filter({ region: event.target.value }));
  if (byId("choose-owner")) byId("choose-owner").addEventListener("change", (event) => filter({ owner: event.target.value }));
  if (data.tokens) byId("choose-product").addEventListener("change", (event) => filter({ product: event.target.value }));
  byId("reset-filters").addEventListener("click", (event) => {
    event.preventDefault();
    filter({ region: "", product: "", owner: "" });
    byId("choose-region").focus();
  });
  document.querySelectorAll("[data-export]").forEach((button) => {
    button.addEventListener("click", () => download(button.dataset.export));
  });
  byId("print").addEventListener("click", () => window.print());
  window.addEventListener("hashchange", () => { readAddress(); redrawAll(); });
  let resizing = 0;
  let drawnWidth = root.clientWidth;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      if (root.clientWidth === drawnWidth) return; // a phone's address bar comes and goes
      drawnWidth = root.clientWidth;
      redrawAll();
    }, 150);
  });
  // The class gives the screen the paper's widths, so that charts are measured for paper before it is laid out.
  // Paper has nothing to open and no second look: all that the filters leave is drawn before it is printed.
  window.addEventListener("beforeprint", () => { root.classList.add("printing"); redrawAll(); });
  window.addEventListener("afterprint", () => { root.classList.remove("printing"); redrawAll(); });

  // The regions' charts are below the first screens: drawn one by one, so that the page answers meanwhile.
  async function drawLater() {
    const yielded = () => new Promise((resolve) => { setTimeout(resolve); });
    for (const element of regionPlots()) {
      if (root.classList.contains("printing")) return;
      if (!element.data) await yielded();
      if (!element.data) await drawRegion(element);
    }
  }

  readAddress();
  drawAll().then(() => {
    root.dataset.ready = Math.round(performance.now()); // milliseconds since the page was asked for
    return drawLater();
  }).then(() => { root.dataset.complete = Math.round(performance.now()); });
})();
