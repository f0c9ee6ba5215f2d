// Draws every figure of the page with the library that the page carries.
(function () {
  "use strict";
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const drawn = Object.entries(page.figures).map(function ([key, figure]) {
    const layout = Object.assign({}, figure.layout, { template: page.template });
    return Plotly.newPlot(document.getElementById("plot-" + key), figure.data, layout, page.config);
  });
  Promise.all(drawn).then(function () {
    document.documentElement.setAttribute("data-ready", "");
  });
  const print = document.getElementById("print");
  print.hidden = false;
  print.addEventListener("click", function () { window.print(); });
  // A figure drawn for a screen is too wide for paper.
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll(".plot").forEach(function (plot) { Plotly.Plots.resize(plot); });
  });
})();
