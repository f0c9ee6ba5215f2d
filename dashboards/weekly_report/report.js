// The page's behaviour: language, the site shown, drawing charts, printing. Data comes with the page.
(function () {
  "use strict";
  const Plotly = window.Plotly || window.moduleName;
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const NARROW = 440;
  const PRINT_HEIGHT_RATIO = 0.72;
  const state = { lang: data.language, site: null, pool: "" };
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const byId = (id) => document.getElementById(id);

  // --- state in the address ---------------------------------------------------------------------

  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (["zh", "en"].includes(asked.get("lang"))) state.lang = asked.get("lang");
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
    if (state.site !== null) {
      address.set("site", state.site);
      if (state.pool) address.set("pool", state.pool);
    }
    history.replaceState(null, "", "#" + address);
  }

  const memberKey = () => state.site + "\n" + state.pool;

  // --- charts -----------------------------------------------------------------------------------

  function draw(element, figure) {
    const layout = Object.assign({}, figure.layout, { template: data.template });
    const room = element.parentElement.clientWidth;
    if (room < NARROW) narrow(layout, figure.data);
    const beside = element.closest(".columns:not(.wide-left)");
    if (root.classList.contains("printing") && !beside) layout.height = Math.round(PRINT_HEIGHT_RATIO * layout.height);
    Object.assign(layout, { width: room, autosize: false });
    return Plotly.react(element, figure.data, layout, data.config);
  }

  // Small screens: no room for words beside the axes, and the map keeps its shape.
  function narrow(layout, traces) {
    layout.font = { size: 11 };
    layout.yaxis = Object.assign({}, layout.yaxis, { title: undefined });
    if (layout.yaxis.scaleanchor) layout.height = 420;
    layout.margin = Object.assign({}, layout.margin, { l: 8, r: 8 });
    layout.legend = Object.assign({}, layout.legend, { font: { size: 11 } });
    traces.forEach((trace) => {
      if (trace.meta === "increase" || trace.meta === "decrease") trace.textposition = "none";
      if (trace.meta !== "sites") return;
      trace.text = trace.text.map((label) => (label.startsWith("<b>") ? label : ""));
      trace.marker = Object.assign({}, trace.marker, { size: trace.marker.size.map((size) => 0.7 * size) });
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

  function drawFixed() {
    return Object.keys(data.charts).map((key) => {
      return draw(byId("chart-" + key), copy(data.charts[key][state.lang]));
    });
  }

  // --- the site that is shown -------------------------------------------------------------------

  function fillChoices() {
    const sites = byId("choose-site");
    const pools = byId("choose-pool");
    const option = (value, label) => Object.assign(document.createElement("option"), { value, textContent: label });
    sites.replaceChildren(...data.sites.options.map((site) => option(site.site_id, site.name[state.lang])));
    const chosen = data.sites.options.find((site) => site.site_id === state.site);
    pools.replaceChildren(
      option("", data.allPools[state.lang]),
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
    if (data.sites) fillChoices();
    return Promise.all([...drawFixed(), ...drawSite()]);
  }

  // --- what the reader does ---------------------------------------------------------------------

  document.querySelectorAll("[data-set-language]").forEach((button) => {
    button.addEventListener("click", () => {
      state.lang = button.dataset.setLanguage;
      writeAddress();
      drawAll();
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
  byId("print").addEventListener("click", () => window.print());
  window.addEventListener("hashchange", () => { readAddress(); drawAll(); });
  let resizing = 0;
  let drawnWidth = root.clientWidth;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      if (root.clientWidth === drawnWidth) return; // a phone's address bar comes and goes
      drawnWidth = root.clientWidth;
      drawAll();
    }, 150);
  });
  // The class gives the screen the paper's widths, so that charts are measured for paper before it is laid out.
  window.addEventListener("beforeprint", () => { root.classList.add("printing"); drawAll(); });
  window.addEventListener("afterprint", () => { root.classList.remove("printing"); drawAll(); });

  readAddress();
  drawAll().then(() => { root.dataset.ready = "true"; });
})();
