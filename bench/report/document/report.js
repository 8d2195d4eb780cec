"use strict";
// A click on a head sorts by that column, a second click turns the order; cells without a number stay at the end.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = head.querySelector("button");
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = row => row.cells[column].dataset.v;
      const text = row => row.cells[column].textContent;
      const rows = [...body.rows].filter(row => !row.classList.contains("pin"));
      const numeric = rows.some(row => value(row) !== undefined);
      rows.sort((a, b) => {
        if (!numeric) return (up ? 1 : -1) * text(a).localeCompare(text(b), undefined, {numeric: true});
        if (value(a) === undefined || value(b) === undefined) return (value(a) === undefined) - (value(b) === undefined);
        return (up ? 1 : -1) * (value(a) - value(b));
      });
      body.append(...rows);
    });
  });
}
