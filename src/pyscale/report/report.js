(function () {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = Array.from(document.querySelectorAll("[data-figure]"));
  const configuration = { displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]], responsive: true };
  // Half and full width of a printed page, in CSS pixels: the page is laid out for paper only after drawing.
  const paper = { half: 340, full: 690 };

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function changes(element, printing) {
    const ink = printing ? "#000" : colour("--ink");
    const grid = printing ? "#ccc" : colour("--grid");
    const found = { "font.color": ink, "width": null, "autosize": true };
    if (printing) found.width = element.closest(".plots") ? paper.half : paper.full;
    for (const key of Object.keys(element.layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        found[key + ".gridcolor"] = grid;
        found[key + ".zerolinecolor"] = grid;
      }
    }
    return found;
  }

  function draw(element) {
    if (element.drawn) return;
    element.drawn = true;
    const figure = figures[element.dataset.figure];
    const layout = Object.assign({
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 60, r: 60, t: 44, b: 48 },
      modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)" },
      font: { size: 12, color: colour("--ink") },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      showlegend: figure.data.length > 1 && figure.data[0].type !== "heatmap",
    }, figure.layout);
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        layout[key].gridcolor = layout[key].zerolinecolor = colour("--grid");
        layout[key].automargin = true;
      }
    }
    Plotly.newPlot(element, figure.data, layout, configuration);
  }

  function restyle(printing) {
    for (const element of plots) {
      if (element.drawn) Plotly.relayout(element, changes(element, printing));
    }
  }

  const seen = new IntersectionObserver(function (entries) {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, { rootMargin: "400px" });
  plots.forEach(function (element) { seen.observe(element); });

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () { restyle(false); });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (d) { d.open = true; });
    plots.forEach(draw);
    restyle(true);
  });
  window.addEventListener("afterprint", function () { restyle(false); });
})();
