document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const downwards = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", downwards ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.order ?? "";
      const isNumber = head.classList.contains("number");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNumber ? x - y : x.localeCompare(y);
        return downwards ? -order : order;
      });
      body.append(...rows);
    });
  });
});

// 10 M and not 10,000,000, as in the drawn figures.
function shortNumber(value) {
  const prefixes = ["", " k", " M", " G", " T"];
  const thousands = Math.floor(Math.log10(value) / 3 + 1e-9);
  const order = Math.min(Math.max(thousands, 0), prefixes.length - 1);
  return value / 1000 ** order + prefixes[order];
}

// A figure becomes one to point at; the drawn one stays for print and without scripts.
document.querySelectorAll(".chart-frame").forEach((frame) => {
  const option = JSON.parse(frame.querySelector("script").textContent);
  (option.parallelAxis ?? []).forEach((axis) => {
    if (!axis.words) return;
    axis.axisLabel = {
      customValues: axis.words.map(([height]) => height),
      formatter: (value) =>
        axis.words.find(([height]) => Math.abs(height - value) < 1e-6)?.[1] ?? "",
    };
  });
  if (option.xAxis?.type === "log") option.xAxis.axisLabel.formatter = shortNumber;
  frame.hidden = false;
  const chart = echarts.init(frame.querySelector(".chart"), null, { renderer: "svg" });
  chart.setOption(option);
  frame.nextElementSibling.classList.add("on-paper");
  new ResizeObserver(() => chart.resize()).observe(frame);
});
