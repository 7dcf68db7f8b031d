(function () {
  "use strict";
  const plots = Array.from(document.querySelectorAll("[data-figure]"));
  const narrow = window.matchMedia("(max-width: 40rem)");
  const configuration = { displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]], responsive: true };
  if (narrow.matches) configuration.displayModeBar = false;
  // Half and full width of a printed page, and the height of its highest plots, in CSS pixels: the page is laid out for paper only after drawing.
  const paper = { half: 335, full: 690, images: 560 };
  let figures = null;

  async function unpacked(id) {
    const text = document.getElementById(id).textContent.trim();
    const bytes = Uint8Array.from(atob(text), function (c) { return c.charCodeAt(0); });
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function load() {
    const data = JSON.parse(await unpacked("figures"));
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly");
    document.head.appendChild(script);
    figures = data;
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function isAxis(key) { return /^[xy]axis\d*$/.test(key); }

  function changes(element, printing) {
    const found = { "font.color": printing ? "#000" : colour("--ink"), width: null, height: null, autosize: true };
    found["modebar.color"] = colour("--soft");
    found["modebar.activecolor"] = colour("--ink");
    if (printing) found.width = element.closest(".plots") && !element.matches(".images") ? paper.half : paper.full;
    if (printing && element.matches(".images")) found.height = paper.images;
    for (const key of Object.keys(element.layout).filter(isAxis)) {
      found[key + ".gridcolor"] = found[key + ".zerolinecolor"] = printing ? "#ccc" : colour("--grid");
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
      margin: narrow.matches ? { l: 48, r: 16, t: 44, b: 38 } : { l: 60, r: 60, t: 44, b: 42 },
      modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink") },
      // A finger that moves over a plot scrolls the page.
      dragmode: narrow.matches ? false : "zoom",
      font: { size: narrow.matches ? 11 : 12, color: colour("--ink") },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      showlegend: figure.data.length > 1 && figure.data[0].type !== "heatmap",
    }, figure.layout);
    for (const key of Object.keys(layout).filter(isAxis)) {
      layout[key].gridcolor = layout[key].zerolinecolor = colour("--grid");
      layout[key].automargin = true;
    }
    Plotly.newPlot(element, figure.data, layout, configuration);
  }

  function restyle(printing) {
    for (const element of plots.filter(function (p) { return p.drawn; })) {
      const changed = changes(element, printing);
      Plotly.relayout(element, changed);
      // A flow that is laid out anew fades in, which paper does not wait for.
      if (element.data[0].type === "sankey") Plotly.newPlot(element, element.data, element.layout, configuration);
    }
  }

  function watch() {
    const seen = new IntersectionObserver(function (entries) {
      for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
    }, { rootMargin: "600px" });
    plots.forEach(function (element) { seen.observe(element); });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () { restyle(false); });
    window.addEventListener("beforeprint", function () {
      plots.forEach(draw);
      restyle(true);
    });
    window.addEventListener("afterprint", function () { restyle(false); });
  }

  // A number as tables write it: 1 234.5, −0.2, 3.1×10⁻⁵, 12.3 ± 0.4; NaN for other text.
  function number(text) {
    const raised = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    const plain = text.trim().replace(/\u202f/g, "").replace(/−/g, "-")
      .replace(/×10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)/, function (_, minus, digits) {
        return "e" + (minus ? "-" : "") + Array.from(digits, function (d) { return raised.indexOf(d); }).join("");
      });
    return parseFloat(plain);
  }

  function compare(a, b) {
    const x = number(a), y = number(b);
    if (!isNaN(x) && !isNaN(y)) return x - y;
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
    return a.localeCompare(b);
  }

  function sortBy(table, column, downwards) {
    const rows = Array.from(table.tBodies[0].rows).filter(function (row) { return row.className !== "total"; });
    rows.sort(function (a, b) {
      const found = compare(a.cells[column].textContent, b.cells[column].textContent);
      return downwards ? -found : found;
    });
    rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
  }

  function makeSortable(table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", function () {
        const downwards = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", downwards ? "descending" : "ascending");
        sortBy(table, column, downwards);
      });
    });
  }

  function followSections() {
    const links = new Map(Array.from(document.querySelectorAll("nav a[href]"), function (a) { return [a.hash.slice(1), a]; }));
    const visible = new Set();
    const watcher = new IntersectionObserver(function (entries) {
      for (const entry of entries) visible[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const here = Array.from(links.keys()).find(function (id) { return visible.has(id); });
      links.forEach(function (link, id) { link.classList.toggle("here", id === here); });
    }, { rootMargin: "-12% 0px -40% 0px" });
    document.querySelectorAll("section[id]").forEach(function (section) { watcher.observe(section); });
  }

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  followSections();
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  });
  if (document.getElementById("plotly") && plots.length) {
    load().then(watch).catch(function (error) {
      console.error(error);
      document.getElementById("trouble").hidden = false;
    });
  }
})();
