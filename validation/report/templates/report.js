// A click on a column's head sorts by it, a second one the other way round; what is empty stays last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const numbers = head.classList.contains("number");
      const key = (row) => {
        const cell = row.cells[head.cellIndex];
        return numbers ? cell.dataset.value ?? "" : cell.textContent.trim();
      };
      const compare = (a, b) => (numbers ? Math.sign(a - b) || 0 : a.localeCompare(b, "en", { numeric: true }));
      const keyed = [...body.rows].map((row) => [key(row), row]);
      keyed.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : sign * compare(a, b)));
      body.append(...keyed.map(([, row]) => row));
    });
  }
}
